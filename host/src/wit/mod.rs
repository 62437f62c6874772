//! The adapter between components and the [`supervisor`](capsule_supervisor): record, look up, convert, call, convert back.
//!
//! The adapter is shaped like wasmtime's own host crates. The store's data holds a [`CapsuleCtx`] and implements [`CapsuleView`];
//! [`add_to_linker_async`] serves `astrid:process` 1.0.0 and 1.1.0, `astrid:io`, `astrid:ipc`, `astrid:sys`, `capsule:net`,
//! `capsule:store` and `capsule:sync` from it.
//! The embedder's [`CapsuleHooks`] decide what a call may do; the default refuses everything.
//!
//! These constraints shape the code:
//! - The adapter has no behaviour of processes, and makes no decisions except the limits that only it can check (the longest
//!   `sleep-ns`, the most `random-bytes`, the most pollables).
//! - Every call that waits races with the context's cancellation, so that unloading a capsule frees its guests.
//! - Every call that matters beyond its instance leaves one record. `ctx` keeps the state of such calls private, so that only a
//!   call that records can reach it; `ctx/call.rs` lists the functions that leave no record.
//! - Each interface is one file with one implementation of its generated trait, for [`CapsuleCtxView`]. Only the generated
//!   `add_to_linker` functions add to a linker.
//! - No id, and no argument that could be one, reaches a log line, a span, or a `Debug` output.

mod asking;
pub mod bindings;
mod convert;
mod ctx;
mod denial;
mod error;
mod hooks;
mod io;
mod ipc;
mod net;
mod process;
mod store;
mod sync;
mod sys;

use wasmtime::component::{HasData, Linker};

use self::bindings::{astrid, capsule};
pub use self::ctx::call::{LockGuard, ProcessHandle, Recorded, Subscription};
pub use self::ctx::{CapsuleCtx, CapsuleCtxBuilder, CapsuleCtxView, CapsuleView};
pub use self::denial::{Denial, Refusal};
pub use self::error::{IoError, IpcError, LockError, NetError, PollError, ProcessError, StoreError, SysError};
pub use self::hooks::{CapsuleHooks, TopicAsk};

/// Names, for a [`Linker`], what our interfaces work on: `add_to_linker::<_, CapsuleCtx>(linker, T::capsule)`.
impl HasData for CapsuleCtx {
    type Data<'a> = CapsuleCtxView<'a>;
}

/// Adds everything that this crate serves: both versions of `astrid:process`, `astrid:io`, `astrid:ipc`,
/// `astrid:sys`, `capsule:net`, `capsule:store` and `capsule:sync`.
///
/// WASI is not among it; a component built for `wasm32-wasip2` also wants `wasmtime_wasi::p2::add_to_linker_async`.
///
/// # Errors
/// When the linker already has one of the interfaces. Use the `add_only_…` functions beside another implementation.
pub fn add_to_linker_async<T: CapsuleView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    add_only_process_to_linker_async(linker)?;
    add_only_poll_to_linker_async(linker)?;
    add_only_ipc_to_linker_async(linker)?;
    add_only_sys_to_linker_async(linker)?;
    add_only_net_to_linker_async(linker)?;
    add_only_store_to_linker_async(linker)?;
    add_only_sync_to_linker_async(linker)
}

/// Adds `astrid:process/host`, versions 1.0.0 and 1.1.0, and nothing else.
///
/// # Errors
/// When the linker already has one of them.
pub fn add_only_process_to_linker_async<T: CapsuleView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    astrid::process1_0_0::host::add_to_linker::<_, CapsuleCtx>(linker, T::capsule)?;
    astrid::process1_1_0::host::add_to_linker::<_, CapsuleCtx>(linker, T::capsule)
}

/// Adds `astrid:io/poll` and `astrid:io/error`, and nothing else.
///
/// The pollables are `wasmtime_wasi_io`'s, so those of another host crate over the same table mix with ours.
///
/// # Errors
/// When the linker already has one of them.
pub fn add_only_poll_to_linker_async<T: CapsuleView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    astrid::io::error::add_to_linker::<_, CapsuleCtx>(linker, T::capsule)?;
    astrid::io::poll::add_to_linker::<_, CapsuleCtx>(linker, T::capsule)
}

/// Adds `astrid:ipc/host`, and nothing else. It works on the [`Messaging`](crate::bus::Messaging) that the context was
/// given.
///
/// # Errors
/// When the linker already has it.
pub fn add_only_ipc_to_linker_async<T: CapsuleView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    astrid::ipc::host::add_to_linker::<_, CapsuleCtx>(linker, T::capsule)
}

/// Adds `astrid:sys/host`, and nothing else.
///
/// # Errors
/// When the linker already has it.
pub fn add_only_sys_to_linker_async<T: CapsuleView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    astrid::sys::host::add_to_linker::<_, CapsuleCtx>(linker, T::capsule)
}

/// Adds `capsule:net/net`, and nothing else. Without it a component that imports the package is refused when it is linked.
///
/// It connects within the processes' private network, on the tokio runtime that polls the guest's call.
///
/// # Errors
/// When the linker already has it.
pub fn add_only_net_to_linker_async<T: CapsuleView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    capsule::net::net::add_to_linker::<_, CapsuleCtx>(linker, T::capsule)
}

/// Adds `capsule:store/keyvalue`, and nothing else. Without it a component that imports the package is refused when it is linked.
/// It works on the [`Store`](crate::keyvalue::Store) that the context was given.
///
/// # Errors
/// When the linker already has it.
pub fn add_only_store_to_linker_async<T: CapsuleView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    capsule::store::keyvalue::add_to_linker::<_, CapsuleCtx>(linker, T::capsule)
}

/// Adds `capsule:sync/lock`, and nothing else. Without it a component that imports the package is refused when it is linked. It
/// works on the [`Locks`](crate::locks::Locks) that the context was given.
///
/// # Errors
/// When the linker already has it.
pub fn add_only_sync_to_linker_async<T: CapsuleView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    capsule::sync::lock::add_to_linker::<_, CapsuleCtx>(linker, T::capsule)
}
