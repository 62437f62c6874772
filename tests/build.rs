//! Compiles the capsules that the tests run, and gives the tests their paths.

#[path = "conformance/nested_build.rs"]
mod nested_build;

use std::env;
use std::path::PathBuf;

use nested_build::{build, target_dir};

fn main() {
    let tests = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = tests
        .parent()
        .expect("the tests are a folder of the workspace")
        .to_owned();
    for input in [
        "wit",
        "guest-sdk",
        "tests/conformance/nested_build.rs",
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
    build(
        &root,
        "wasm32-wasip2",
        &["-pdev-server", "-pcapsule-test-guest", "-pcapsule-hostile-guest"],
    );
    build(&root, "wasm32-unknown-unknown", &["-pcapsule-test-guest"]);
    // A workspace of its own, with its own lock file and configuration.
    build(&tests.join("foreign"), "wasm32-unknown-unknown", &[]);
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
        let path = target_dir().join(file);
        assert!(path.exists(), "cargo built no {}", path.display());
        println!("cargo::rustc-env=CAPSULE_{name}={}", path.display());
    }
    // The folder in which the tests' hosts keep compiled code.
    println!(
        "cargo::rustc-env=CAPSULE_COMPILED={}",
        target_dir().join("compiled").display()
    );
}
