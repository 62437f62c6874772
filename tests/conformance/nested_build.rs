//! Builds components from within a build script, by a cargo of its own. Shared with the build script of `capsule-tests`,
//! which reads this file: a crate for it would have to be published with this one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The one folder in which components are built, whichever build needs them: `guests` in cargo's target folder. The
/// folder of the profile is locked while a build script runs. A folder below `OUT_DIR` would be built again for each
/// profile and each set of features.
pub(crate) fn target_dir() -> PathBuf {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    // <target>/[<triple>/]<profile>/build/<package>/out
    out.ancestors().nth(4).expect("it lies that deep").join("guests")
}

/// Builds in `workspace` for `target`, in release mode. `what` names packages and kinds. Returns the folder of the
/// results.
pub(crate) fn build(workspace: &Path, target: &str, what: &[&str]) -> PathBuf {
    add_target(target);
    let target_dir = target_dir();
    let mut command = tool("CARGO", "cargo");
    command
        .current_dir(workspace)
        .args(["build", "--locked", "--release", "--target", target])
        .arg("--target-dir")
        .arg(&target_dir)
        .args(what);
    // Variables that cargo sets for this script must not reach another build: flags, or the linter in place of the
    // compiler.
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        let ours = [
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
        ];
        if ours.contains(&&*name) || name.starts_with("CARGO_CFG_") || name.starts_with("CARGO_FEATURE_") {
            command.env_remove(&key);
        }
    }
    let status = command.status().expect("cargo starts");
    assert!(status.success(), "the components for {target} do not compile");
    target_dir.join(target).join("release")
}

/// Installs the target if the toolchain lacks it. A toolchain file alone does not do that on every machine.
fn add_target(target: &str) {
    let sysroot = tool("RUSTC", "rustc")
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc starts")
        .stdout;
    let sysroot = String::from_utf8(sysroot).expect("a path that is text");
    let installed = Path::new(sysroot.trim()).join("lib/rustlib").join(target).join("lib");
    if fs::exists(&installed).unwrap_or(false) {
        return;
    }
    let added = tool("RUSTUP", "rustup").args(["target", "add", target]).status();
    assert!(
        added.is_ok_and(|status| status.success()),
        "the target {target} is missing; add it with `rustup target add {target}`"
    );
}

fn tool(variable: &str, name: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a build script is no part of the host")]
    Command::new(env::var_os(variable).unwrap_or_else(|| name.into()))
}
