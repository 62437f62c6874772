//! Native processes for WebAssembly components.
//!
//! A *capsule* is a component that runs on behalf of a principal, each call in a fresh instance. This crate is the host's
//! side of `astrid:process`, a capsule's only interface to the operating system. Through it a capsule runs a command, or starts a
//! *persistent* process that the host owns. Any later instance of the same capsule, under the same principal, reaches that
//! process by an unforgeable id.
//!
//! # An embedder with its own engine and store
//!
//! The store's data holds a [`CapsuleCtx`] and implements [`CapsuleView`]. Its [`CapsuleHooks`] decide what a guest may do.
//!
//! ```
//! use std::sync::Arc;
//!
//! use capsule_host::sandbox::{Unconfined, Workspace};
//! use capsule_host::supervisor::{Ask, Limits, Owner, Principal, Registry};
//! use capsule_host::{CapsuleCtx, CapsuleCtxView, CapsuleHooks, CapsuleView};
//! use wasmtime::component::{Linker, ResourceTable};
//! use wasmtime::{Engine, Store};
//!
//! /// Lets guests run `python3`, and nothing else.
//! struct Policy;
//!
//! impl CapsuleHooks for Policy {
//!     fn authorize(&mut self, _owner: &Owner, ask: Ask<'_>) -> bool {
//!         match ask {
//!             Ask::Process => true,
//!             Ask::Command(command) => command.cmd == "python3",
//!             _ => false,
//!         }
//!     }
//! }
//!
//! /// The state of one instance.
//! struct Instance {
//!     capsule: CapsuleCtx,
//!     table: ResourceTable,
//!     policy: Policy,
//! }
//!
//! impl CapsuleView for Instance {
//!     fn capsule(&mut self) -> CapsuleCtxView<'_> {
//!         CapsuleCtxView { ctx: &mut self.capsule, table: &mut self.table, hooks: &mut self.policy }
//!     }
//! }
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! // Once: the registry owns all processes, the linker knows all interfaces.
//! let handle = tokio::runtime::Handle::current();
//! let registry = Registry::new(handle, Arc::new(Unconfined::new()), Limits::default())?;
//! let engine = Engine::default();
//! let mut linker = Linker::<Instance>::new(&engine);
//! capsule_host::add_to_linker_async(&mut linker)?;
//!
//! // For every instance: the principal, the capsule and the folder.
//! let owner = Owner { principal: Principal::Named("alice".into()), capsule: "dev-server".into() };
//! let capsule = CapsuleCtx::builder(&registry, owner, Workspace::open(".")?).build();
//! let store = Store::new(&engine, Instance { capsule, table: ResourceTable::new(), policy: Policy });
//! // ... `linker.instantiate_async(store, &component)` and call it ...
//! # drop(store);
//!
//! // At the end: ends every process that was started.
//! registry.shutdown().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(embed()).unwrap();
//! ```
//!
//! # An embedder without an engine
//!
//! The feature `runtime` provides an engine with limits, which loads and calls capsules; see [`runtime`].
//!
//! # An embedder without components
//!
//! The [`supervisor`], and the [`sandbox`] beneath it, do not depend on wasm: `default-features = false`.

#![deny(missing_docs)]

pub mod audit;
pub mod bus;
#[cfg(feature = "component")]
mod fetch;
pub mod keyvalue;
pub mod locks;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "component")]
mod wit;

#[doc(inline)]
pub use capsule_supervisor as supervisor;
#[doc(inline)]
pub use capsule_supervisor::{printable, sandbox};

#[cfg(feature = "component")]
pub use fetch::FetchError;
#[cfg(feature = "component")]
pub use wit::*;
