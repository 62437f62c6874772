//! Compiles the component from `guest/src`, with the SDK that cargo chose for this build script.
//!
//! The component's package is assembled in the target folder, because cargo leaves a folder with a `Cargo.toml` out of the package
//! around it. It takes the versions of the workspace's lock file, or in a package of this package's own.

mod nested_build;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let sdk = Path::new(capsule_sdk::SOURCE);
    let lock = [here.join("Cargo.lock"), here.join("../Cargo.lock")];
    let lock = lock
        .iter()
        .find(|lock| lock.exists())
        .expect("a package and a workspace have one");
    for input in [
        &here.join("build.rs"),
        &here.join("nested_build.rs"),
        &here.join("guest"),
        &sdk.join("src"),
        &sdk.join("wit"),
        lock,
    ] {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    let component = out.join("process_tools.wasm");
    if env::var_os("DOCS_RS").is_some() {
        // The builders of documentation have no network.
        fs::write(component, "").expect("OUT_DIR can be written to");
        return;
    }
    let package = nested_build::target_dir().join("process-tools");
    fs::create_dir_all(&package).expect("the target folder can be written to");
    let manifest = fs::read_to_string(here.join("guest/manifest.toml")).expect("the manifest can be read");
    let manifest = manifest.replace("SDK", &format!("{:?}", sdk.display().to_string()));
    fs::write(package.join("Cargo.toml"), manifest).expect("a manifest can be written");
    fs::copy(lock, package.join("Cargo.lock")).expect("a lock file can be copied");
    // Of an earlier run, or of another checkout.
    drop(fs::remove_file(package.join("src")));
    symlink(here.join("guest/src"), package.join("src")).expect("the target folder can hold a link");
    prune_lock(&package);
    let built = nested_build::build(&package, TARGET, &[]);
    fs::copy(built.join("process_tools.wasm"), component).expect("the component was built");
}

/// Takes out of the lock file what the component does not depend on, so that a build can require that it is not changed.
fn prune_lock(package: &Path) {
    #[expect(clippy::disallowed_methods, reason = "a build script is no part of the host")]
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo
        .current_dir(package)
        .args(["metadata", "--format-version", "1", "--filter-platform", TARGET]);
    let output = cargo.output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
