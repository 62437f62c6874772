//! The mock in the place of the host's imports: the same functions and methods, with the same
//! types where those are plain data. A file for each interface.

pub(crate) mod ipc;
pub(crate) mod net;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod store;
pub(crate) mod sync;
pub(crate) mod sys;
