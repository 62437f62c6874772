//! Owning children: their output, their stdin, their life and who may reach them. Names no wasm type.
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
mod text;
mod timers;
mod types;

pub use error::Error;
pub use id::ProcessId;
pub use limits::Limits;
pub use registry::{Ask, Gate, Registry, RegistryError};
pub use request::{CommandView, RESERVED_ENV, ResourceLimits, SpawnRequest};
pub use ring::Overflow;
pub use scope::Scope;
pub use types::{
    ExitInfo, LogChunk, LogStream, Logs, Owner, Phase, Principal, ProcessInfo, RunOutput, Signal,
};
