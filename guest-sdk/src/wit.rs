//! The host's interfaces, as this crate uses them. Everything public wraps them: a record that grows a field in a later
//! version of the interface must not change what capsule authors write.
//!
//! The bindings are in `wit/`. The seven modules below are the seam of the mock: natively, with
//! feature `mock`, they are the mock's own, and otherwise the generated ones, so that a component is
//! compiled as if there were no mock. The mock stands below this file: it and what it needs (plain
//! types such as [`Signal`](crate::Signal)) use `generated`, and everything else uses the seam.

pub mod background;
pub mod generated;

#[cfg(all(any(feature = "mock", not(doctest)), not(target_family = "wasm")))]
pub(crate) use crate::mock::seam::{ipc, net, poll, process, store, sync, sys};
#[cfg(not(all(any(feature = "mock", not(doctest)), not(target_family = "wasm"))))]
pub(crate) use generated::{
    astrid::{io::poll, ipc::host as ipc, process1_1_0::host as process, sys::host as sys},
    capsule::{net::net, store::keyvalue as store, sync::lock as sync},
};
