//! Keeps both versions of `astrid:process` apart: the linker otherwise has calls of the older one go to the newer.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=--merge-imports-based-on-semver=false");
}
