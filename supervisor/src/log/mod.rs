//! The output of a process: stored, addressed by offset, and read.

pub(crate) mod cursor;
pub(crate) mod output;
pub(crate) mod reader;
pub(crate) mod ring;
