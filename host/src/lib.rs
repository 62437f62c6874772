//! Native processes for WebAssembly components.
//!
//! A *capsule* is a component that runs on behalf of a principal, each call in a fresh instance. This crate is the host's
//! side of its one door to the operating system, `astrid:process`.

#![deny(missing_docs)]

mod os;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod sandbox;
pub mod supervisor;
#[cfg(feature = "component")]
mod wit;

#[cfg(feature = "component")]
pub use wit::*;
