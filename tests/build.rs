//! Compiles the capsules that the tests run, and tells the tests where they are.
//!
//! They go into a target folder of their own: the one that this build script is part of is locked while it runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let tests = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = tests
        .parent()
        .expect("the tests are a folder of the workspace")
        .to_owned();
    for input in [
        "wit",
        "guest-sdk",
        "tests/guests",
        "tests/hostile",
        "tests/foreign/.cargo",
        "tests/foreign/src",
        "tests/foreign/Cargo.lock",
        "tests/foreign/Cargo.toml",
        "example-capsules",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let target_dir = out.join("guests");
    build(
        &root,
        &target_dir,
        "wasm32-wasip2",
        &["dev-server", "capsule-test-guest", "capsule-hostile-guest"],
    );
    build(&root, &target_dir, "wasm32-unknown-unknown", &["capsule-test-guest"]);
    // A workspace of its own, with its own lock and configuration.
    build(
        &tests.join("foreign"),
        &target_dir,
        "wasm32-unknown-unknown",
        &["foreign-capsule"],
    );
    for (name, file) in [
        ("DEV_SERVER", "wasm32-wasip2/release/dev_server.wasm"),
        ("TEST_GUEST", "wasm32-wasip2/release/capsule_test_guest.wasm"),
        ("HOSTILE_GUEST", "wasm32-wasip2/release/capsule_hostile_guest.wasm"),
        (
            "TEST_GUEST_CORE",
            "wasm32-unknown-unknown/release/capsule_test_guest.wasm",
        ),
        ("FOREIGN_CORE", "wasm32-unknown-unknown/release/foreign_capsule.wasm"),
    ] {
        let path = target_dir.join(file);
        assert!(path.exists(), "cargo built no {}", path.display());
        println!("cargo::rustc-env=CAPSULE_{name}={}", path.display());
    }
}

fn build(workspace: &Path, target_dir: &Path, target: &str, packages: &[&str]) {
    add_target(target);
    let mut command = tool("CARGO", "cargo");
    command
        .current_dir(workspace)
        .args(["build", "--locked", "--release", "--target", target])
        .arg("--target-dir")
        .arg(target_dir);
    for package in packages {
        command.args(["--package", package]);
    }
    // What cargo sets for this script is not meant for another build: flags, the linter in place of the compiler.
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
    assert!(status.success(), "the guests for {target} do not compile");
}

/// Adds the target where the toolchain lacks it; a toolchain file alone does not on every machine.
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
