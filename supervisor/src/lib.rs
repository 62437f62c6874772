//! Owns native processes: their output, their stdin, their life, and their owners. This crate names no wasm type.
//!
//! A [`Registry`] owns every process of a host. A call is made for an [`Owner`], and can name only the processes in that owner's
//! [`Scope`]:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use capsule_supervisor::sandbox::{Unconfined, Workspace};
//! use capsule_supervisor::{Ask, Gate, Limits, LogStream, Owner, Principal, Registry, SpawnRequest};
//!
//! struct OnlyCat;
//! impl Gate for OnlyCat {
//!     fn allows(&mut self, _owner: &Owner, ask: Ask<'_>) -> bool {
//!         match ask {
//!             Ask::Command(command) => command.cmd == "cat",
//!             _ => true,
//!         }
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let launcher = Arc::new(Unconfined::new().allow_persistent());
//! let registry = Registry::new(tokio::runtime::Handle::current(), launcher, Limits::default())?;
//! let workspace = Workspace::open(".")?;
//! let owner = Owner { principal: Principal::Named("ada".into()), capsule: "notes".into() };
//!
//! // One call starts a process ...
//! let request = SpawnRequest { cmd: "cat".into(), stdin: Some(b"kept".into()), ..SpawnRequest::default() };
//! let id = registry.scope(owner.clone()).spawn_persistent(request, &workspace, &mut OnlyCat).await?;
//!
//! // ... and a later one, of the same owner, reaches it by its id.
//! let scope = registry.scope(owner);
//! let exit = scope.wait(id.expose(), Duration::from_secs(60)).await?;
//! let chunk = scope.read_since(id.expose(), LogStream::Stdout, None, 4096)?;
//! assert_eq!((exit.exit_code, &chunk.data[..], chunk.drained_eof), (Some(0), &b"kept"[..], true));
//!
//! registry.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Inside, from plain data up:
//!
//! ```text
//! types, error, id, title, keys, quota  plain types; quotas
//! limits, variables, injection, request requests and their checks
//! metrics                               the metrics
//! events, watch                         lifecycle events
//! log/   ring, cursor                   plain data: no task, lock or clock
//!        output, reader                 a ring with its pipe and lock; waiting for it
//! life/  lifecycle, options             plain data
//!        timers, stdin                  tasks that know no process
//!        process                        the state that the tasks of one process and its callers share
//!        monitor, sampler               the tasks that end it
//!        supervise, capture             starts these tasks; a process that lives for one call
//! generation, table, read_positions     processes that end together; an owner's processes; a reader's positions
//! ports                                 the ports on which a process listens
//! gate, prewarmer                       the embedder's decision; preparing for the next command
//! shared, admission                     the state that a registry, its scopes and handles share; the checks of a spawn
//! handle, ready, scope, registry        the interface
//! ```
//!
//! Beneath them, [`sandbox`] decides what a process may see and use, `network` whom it may reach and by which names, and `os`
//! starts it. They use small modules that depend on none of them: `interned`, `owner`, `printable`, `rate`, `sync`, `text`, `topic`.
//! `guest_log` limits and writes the log lines of guests.

#![deny(missing_docs)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "capsule-supervisor needs Linux: it confines and ends processes with namespaces, control groups and seccomp"
);

mod admission;
mod error;
mod events;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod generation;
mod guest_log;
mod handle;
mod id;
mod identity_hasher;
mod injection;
#[doc(hidden)]
pub mod internals;
mod interned;
mod keys;
mod life;
mod limits;
mod log;
pub mod metrics;
mod network;
mod os;
mod owner;
mod ports;
mod prewarmer;
pub mod printable;
mod quota;
mod rate;
mod read_positions;
mod ready;
mod registry;
mod request;
pub mod sandbox;
mod scope;
mod shared;
mod sync;
mod table;
mod text;
mod title;
mod topic;
mod types;
mod variables;
mod watch;

pub use crate::sandbox::ResourceLimits;
pub use error::Error;
pub use events::{Events, ProcessEvent};
pub use gate::{Ask, Gate};
pub use handle::Handle;
pub use id::ProcessId;
pub use injection::{FileInjection, InjectionView, Placement, RESERVED_PATHS};
pub use limits::Limits;
pub use log::ring::Overflow;
pub use owner::{Owner, Principal};
pub use ports::PortError;
pub use ready::{ExitReady, LogsReady};
pub use registry::{Registry, RegistryError};
pub use request::{CommandView, SpawnRequest};
pub use scope::Scope;
pub(crate) use types::Tier;
pub use types::{ExitInfo, Killed, LogChunk, LogStream, Logs, Phase, ProcessInfo, RunOutput, Signal};
pub use variables::RESERVED_ENV;
