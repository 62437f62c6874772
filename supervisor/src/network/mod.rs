//! The network of a confined tree, as far as it needs no policy: what moves its bytes.
//!
//! It lies between `os`, which asks the kernel, and `sandbox`, which decides what a tree may reach.

pub(crate) mod relay;
