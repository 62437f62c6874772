//! Tells a package that depends on this one where its source is: a dependency gets the library only, and builds the
//! program for itself.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::metadata=source={}", env!("CARGO_MANIFEST_DIR"));
}
