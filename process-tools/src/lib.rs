//! The component and the manifest of the bundled capsule, for the command `capsule`.
//!
//! `build.rs` compiles the component from `guest/src`.

/// The component, for a host of `astrid:process`. It is empty in a build for documentation alone.
pub const COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/process_tools.wasm"));

/// Its `Capsule.toml`.
pub const MANIFEST: &str = include_str!("../guest/Capsule.toml");

#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "../guest/src/tools.rs"]
mod tools;
