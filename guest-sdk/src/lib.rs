//! Native processes from inside a WebAssembly capsule, shaped like [`std::process`].
//!
//! Every call of a capsule runs in a fresh instance, so nothing in its memory lasts. A process
//! started with [`Command::spawn_persistent`] does: it runs on when the instance is gone, and a
//! later one finds it again by its [`ProcessId`] or its label.
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
//!     let mut lines = Process::attach(&place.id)?.stdout().resume(place.cursor).lines();
//!     let text = lines.by_ref().collect::<Result<_, _>>()?;
//!     Ok((text, Place { cursor: lines.cursor(), ..place }))
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
//! * **Dropping.** Dropping a [`Process`] merely lets go of it. What ends it is
//!   [`stop`](Process::stop), its own exit, or one of its timers.
//! * **Grants.** What a capsule may run is the embedder's say; without a grant everything here
//!   answers [`Error::CapabilityDenied`].
//! * **Not here yet.** `Command::spawn`, a handle that ends its process when dropped, comes with
//!   the handles of a later version; so do waiting for several processes at once and lifecycle
//!   events. Until then what waits for output asks again and again, as [`Follow`] explains.
//! * **Outside a component** the crate compiles, so that the pure parts of a capsule can be tested
//!   as usual, but any call that needs the host panics.

mod action;
mod command;
mod cursor;
mod error;
mod id;
mod log;
mod millis;
mod output;
mod pending;
mod process;
mod stdin;
pub mod sys;
mod waiting;
#[doc(hidden)]
pub mod wit;

pub use action::Payload;
#[doc(hidden)]
pub use action::{Handler, dispatch};
pub use command::{Command, Overflow, ResourceLimits};
pub use cursor::{Cursor, ParseCursorError};
pub use error::{Error, Result};
pub use id::ProcessId;
pub use log::{Follow, Lines, Log, LogStream};
pub use output::{ExitStatus, Output};
pub use process::{Logs, Phase, Process, ProcessInfo, Signal, list, status_many};
pub use stdin::Stdin;
