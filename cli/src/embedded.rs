//! The files that the command carries for capsule authors. `build.rs` lists them.

/// A file, by its path within its folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) content: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
