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
//! let workspace = Workspace::open(std::env::temp_dir())?;
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
//! ring, cursor, id, lifecycle, limits, request, text      plain data: no task, lock or clock
//! output, stdin, quota, timers                            one lock or queue each
//! reader, monitor                                         the tasks of one process
//! process, capture                                        a process; owning one for a single call
//! admission, registry, scope                              who may start what; who owns which
//! ```

mod admission;
mod capture;
mod cursor;
mod error;
mod id;
mod lifecycle;
mod limits;
mod monitor;
mod output;
mod process;
mod quota;
mod reader;
mod registry;
mod request;
mod ring;
mod scope;
mod stdin;
pub(crate) mod text;
mod timers;
mod types;

pub use error::Error;
pub use id::ProcessId;
pub use limits::Limits;
pub use registry::{Ask, Gate, Registry, RegistryError};
pub use request::{CommandView, RESERVED_ENV, ResourceLimits, SpawnRequest};
pub use ring::Overflow;
pub use scope::Scope;
pub use types::{ExitInfo, LogChunk, LogStream, Logs, Owner, Phase, Principal, ProcessInfo, RunOutput, Signal};
