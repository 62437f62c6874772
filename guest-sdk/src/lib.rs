//! Native processes from inside a WebAssembly capsule, shaped like [`std::process`].
//!
//! Every call of a capsule runs in a fresh instance, so nothing in its memory lasts. A process
//! started with [`Command::spawn_persistent`] lasts: it runs on when the instance is gone, and a
//! later instance finds it again by its [`ProcessId`] or its label.
//!
//! ```
//! use capsule_sdk::{Command, Cursor, Process, ProcessId};
//! use serde::{Deserialize, Serialize};
//! use std::{error::Error, time::Duration};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Place {
//!     id: ProcessId,
//!     #[serde(default)]
//!     cursor: Cursor,
//! }
//!
//! fn start() -> Result<Place, Box<dyn Error>> {
//!     let server = Command::new("python3").args(["-u", "-m", "http.server", "0"]).spawn_persistent()?;
//!     let mut output = server.stdout();
//!     output.wait_for_output("Serving HTTP", Duration::from_secs(10))?;
//!     Ok(Place { id: server.id().clone(), cursor: output.cursor() })
//! }
//!
//! // Another instance, perhaps an hour later.
//! fn logs(place: Place) -> Result<(Vec<String>, Place), Box<dyn Error>> {
//!     let mut output = Process::attach(&place.id)?.stdout().resume(place.cursor);
//!     let text = output.lines().collect::<Result<_, _>>()?;
//!     Ok((text, Place { cursor: output.cursor(), ..place }))
//! }
//!
//! capsule_sdk::actions! {
//!     "start" => start,
//!     "logs" => logs,
//! }
//! # fn main() {}
//! ```
//!
//! # What to know
//!
//! * **Three ways to run.** [`Command::output`] waits for the end. [`Command::spawn`] gives a
//!   [`Child`], which ends when it is dropped, and with the instance at the latest.
//!   [`Command::spawn_persistent`] gives a [`Process`], which outlives both. It ends by
//!   [`stop`](Process::stop) or [`kill`](Process::kill), by its own exit, or by one of its timers.
//! * **Waiting.** [`Child`], [`Process`] and [`Log`] have methods that wait for one exit or for
//!   output. [`select`] waits for the first of several, and [`block_on`] runs `async` code. A
//!   capsule need not wait at all: it can [`watch`](Process::watch) a process, and the host then
//!   [publishes](Event) its end to a [subscription](ipc) or to an action that the embedder binds.
//! * **Network.** The processes of a capsule share a private network. [`Process::wait_for_port`] waits
//!   for a server, and [`net`] sends it requests.
//! * **Values.** [`store`] keeps small values, such as a [`Cursor`], for later instances.
//! * **Protocols.** [`jsonl`] reads and writes JSON lines, and [`rpc`] makes requests over them, for instance to an MCP server, also
//!   from several instances at once.
//! * **One of several instances.** [`Command::find_or_spawn`] starts a process at most once, and [`sync`] has
//!   locks for everything else.
//! * **Grants.** The embedder decides what a capsule may run. Without a grant every call answers
//!   [`Error::CapabilityDenied`].
//! * **Text.** A [`Log`] returns bytes unchanged; a [`Child`] and `output` return text.
//!   [`TextDecoder`] makes text of bytes that come in pieces.
//! * **Testing.** With feature `mock` a capsule's functions run in plain `cargo test`, against a
//!   host in memory whose commands and clock the test controls: see `mock`. Without it, and outside
//!   of a component, every call to the host panics with a message that names the feature.

mod action;
mod background;
mod child;
mod command;
mod cursor;
mod error;
mod error_kind;
mod event;
mod http;
mod id;
pub mod ipc;
pub mod jsonl;
mod level;
mod log;
mod log_stream;
pub mod mcp;
mod millis;
#[cfg(all(feature = "mock", not(target_family = "wasm")))]
pub mod mock;
// Without the feature it is here for its message alone: the generated functions would only say that they are unreachable.
// Its examples need the feature, so a documentation test leaves it out.
#[cfg(all(not(feature = "mock"), not(target_family = "wasm"), not(doctest)))]
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "a test with the feature uses it"
)]
mod mock;
pub mod net;
mod output;
mod pending;
mod pollable;
mod process;
mod published;
pub mod rpc;
mod sender;
mod signal;
mod stdin;
pub mod store;
pub mod sync;
pub mod sys;
mod tail;
mod task;
mod text;
mod waiting;
#[doc(hidden)]
pub mod wit;

pub use action::Payload;
#[doc(hidden)]
pub use action::{Handler, dispatch};
#[doc(hidden)]
pub use background::finish_run;
pub use child::{Child, ChildOutput};
pub use command::{Command, Overflow, ResourceLimits};
pub use cursor::{Cursor, ParseCursorError};
pub use error::{Error, Result};
pub use error_kind::ErrorKind;
pub use event::{Event, Exited, Reason};
pub use id::ProcessId;
pub use log::{Follow, Lines, Log};
pub use log_stream::LogStream;
pub use output::{ExitStatus, Killed, Output};
#[doc(hidden)]
pub use pollable::Kind;
pub use pollable::{Pollable, Source, Timer, select};
pub use process::{Logs, Phase, Process, ProcessInfo, list, status_many};
pub use signal::Signal;
pub use stdin::{ChildStdin, Stdin};
pub use tail::Tail;
pub use task::{Ready, block_on};
pub use text::TextDecoder;

/// The folder of this crate, for a build script that compiles a capsule with it.
#[doc(hidden)]
#[cfg(not(target_family = "wasm"))]
pub const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
