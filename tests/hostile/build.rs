//! Keeps both versions of `astrid:process` apart: the linker otherwise has calls of the older one go to the newer.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_CFG_TARGET_ARCH").is_some_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=--merge-imports-based-on-semver=false");
    }
}
