//! Builds `capsule-init` from the source of that package, so that who adds this crate needs no other step.
//!
//! A dependency of ours gives us its library only, so its program is built here, by a cargo of its own with a target
//! folder of its own: the one around us is locked while this runs. `CAPSULE_INIT` may name a program that was built
//! elsewhere.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CAPSULE_INIT");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let program = match env::var_os("CAPSULE_INIT") {
        Some(program) => program.into(),
        // What builds documentation has no network, and starts nothing: any file stands for the program.
        None if env::var_os("DOCS_RS").is_some() => {
            PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("Cargo.toml")
        }
        None => build(),
    };
    assert!(program.exists(), "there is no capsule-init at {}", program.display());
    println!("cargo::rustc-env=CAPSULE_INIT_PROGRAM={}", program.display());
}

fn build() -> PathBuf {
    // From the build script of that package, by way of its `links`.
    let source = PathBuf::from(env::var_os("DEP_CAPSULE_INIT_SOURCE").expect("capsule-init says where it is"));
    for input in ["src", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", source.join(input).display());
    }
    let target = env::var("TARGET").expect("cargo sets it");
    let target_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("init");
    // Static, so that it needs nothing of the place that it is started in. Best with musl, whose start-up does not ask
    // the processor what it is: in a virtual machine that takes longer than all the rest. Then with a static glibc, and
    // where there is none, as it can be had.
    let musl = target.replace("-gnu", "-musl");
    let mut ways = Vec::new();
    if has_target(&musl) {
        ways.push((musl.as_str(), "-Ctarget-feature=+crt-static"));
    }
    ways.push((
        target.as_str(),
        "-Ctarget-feature=+crt-static -Crelocation-model=static",
    ));
    ways.push((target.as_str(), ""));
    for (target, flags) in ways {
        if cargo(&source, target, &target_dir, flags) {
            return target_dir.join(target).join("release/capsule-init");
        }
        println!("cargo::warning=capsule-init does not compile for {target} with `{flags}`: a slower one is tried");
    }
    panic!("capsule-init does not compile; the reason is above");
}

fn has_target(target: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a build script is no part of the host")]
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let printed = command.args(["--print", "target-libdir", "--target", target]).output();
    printed.is_ok_and(|printed| Path::new(String::from_utf8_lossy(&printed.stdout).trim()).exists())
}

fn cargo(source: &Path, target: &str, target_dir: &Path, flags: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a build script is no part of the host")]
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args([
        "build",
        "--release",
        "--package",
        "capsule-init",
        "--bin",
        "capsule-init",
        "--target",
        target,
    ]);
    // Small, because a copy of it is made for every command. The settings are given here, because a profile belongs to a
    // workspace, and this crate may be built in another project's workspace.
    for setting in [
        "opt-level='s'",
        "lto=true",
        "codegen-units=1",
        "panic='abort'",
        "strip=true",
    ] {
        command.arg("--config").arg(format!("profile.release.{setting}"));
    }
    command
        .arg("--manifest-path")
        .arg(source.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir);
    // What cargo sets for this script is not meant for another build: flags, the linter in place of the compiler.
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        let ours = [
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
        ];
        if ours.contains(&&*name) || name.starts_with("CARGO_CFG_") || name.starts_with("CARGO_FEATURE_") {
            command.env_remove(&key);
        }
    }
    command.env("RUSTFLAGS", flags);
    command.status().is_ok_and(|status| status.success())
}
