//! Owning children: their output, their stdin, their life and who may reach them. Names no wasm type.
//!
//! A [`Registry`] owns every process of a host. A call comes in for an [`Owner`], whose [`Scope`] is all it can name:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use capsule_host::sandbox::{Unconfined, Workspace};
//! use capsule_host::supervisor::{Ask, Gate, Limits, LogStream, Owner, Principal, Registry, SpawnRequest};
//!
//! struct OnlyCat;
//! impl Gate for OnlyCat {
//!     fn allows(&mut self, ask: Ask<'_>) -> bool {
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
//! // One instance starts a process …
//! let request = SpawnRequest { cmd: "cat".into(), stdin: Some(b"kept".into()), ..SpawnRequest::default() };
//! let id = registry.scope(owner.clone()).spawn_persistent(request, &workspace, &mut OnlyCat).await?;
//!
//! // … and a later one, of the same owner, reaches it by its id.
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
//! types, request, injection, limits, id, quota
//!                                       what is asked and counted
//! metrics                               the counts that can be seen from outside
//! watch, events                         what is told, and to whom
//! log/   ring, cursor, text             plain data: no task, lock or clock
//!        output, reader                 a ring with its pipe and lock; waiting for it
//! life/  lifecycle                      plain data
//!        timers, stdin, monitor         the tasks
//!        process, capture               what they share; owning one for a single call
//! table, seen                           what an owner has; what a reader has read
//! lull                                  when there is time to prepare for the next command
//! admission, registry, scope            who may start what; who owns which
//! handle, ready                         the same by a handle; waiting for several
//! ```

mod admission;
mod error;
mod events;
mod handle;
mod id;
mod injection;
mod life;
mod limits;
pub(crate) mod log;
mod lull;
pub mod metrics;
pub(crate) mod quota;
mod ready;
mod registry;
mod request;
mod scope;
mod seen;
mod table;
mod types;
mod watch;

pub use crate::sandbox::ResourceLimits;
pub use error::Error;
pub use events::{Event, Events};
pub use handle::Handle;
pub use id::ProcessId;
pub use injection::{FileInjection, InjectionView, Placement, RESERVED_PATHS};
pub use limits::Limits;
pub use log::ring::Overflow;
pub use ready::{ExitReady, LogsReady};
pub(crate) use registry::Interned;
pub use registry::{Ask, Gate, Registry, RegistryError};
#[cfg(feature = "fuzzing")]
pub(crate) use request::Tier;
pub use request::{CommandView, RESERVED_ENV, SpawnRequest};
pub use scope::Scope;
pub use types::{ExitInfo, Killed, LogChunk, LogStream, Logs, Owner, Phase, Principal, ProcessInfo, RunOutput, Signal};
