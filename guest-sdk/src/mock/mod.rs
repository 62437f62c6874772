//! A host in memory, for a capsule's own unit tests: feature `mock`.
//!
//! A test makes a [`Host`], says what commands do ([`Script`]), calls the capsule's functions as
//! plain functions, and looks at what they did. There is no process, no thread and no real time:
//! a wait moves the mock's clock to what comes next, so a wait of an hour takes no time and
//! the same test always does the same.
//!
//! In the capsule's `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! capsule-sdk = { version = "…", features = ["mock"] }
//! ```
//!
//! And in its `lib.rs`, here with the test inlined:
//!
//! ```
//! use capsule_sdk::{Command, Process, ProcessId};
//! use std::{error::Error, time::Duration};
//!
//! fn start() -> Result<ProcessId, Box<dyn Error>> {
//!     let server = Command::new("python3").args(["-um", "http.server"]).label("web").spawn_persistent()?;
//!     server.stdout().wait_for_output("Serving HTTP", Duration::from_secs(20))?;
//!     Ok(server.id().clone())
//! }
//!
//! fn stop() -> Result<Option<i32>, Box<dyn Error>> {
//!     let server = Process::find("web")?.ok_or("no server is running")?;
//!     Ok(server.stop(None)?.signal())
//! }
//!
//! capsule_sdk::actions! {
//!     "start" => start,
//!     "stop" => stop,
//! }
//!
//! # fn main() {
//! // #[test] fn a_server_that_takes_its_time_is_waited_for() {
//! use capsule_sdk::mock::{Host, Script};
//!
//! let host = Host::new();
//! host.command("python3", |run| {
//!     assert_eq!(run.args, ["-um", "http.server"]);
//!     Script::new().after(Duration::from_secs(3)).stdout("Serving HTTP on :: port 8000\n")
//! });
//! start().unwrap();
//! assert!(host.now() >= Duration::from_secs(3));
//! assert_eq!(stop().unwrap(), Some(15));
//! assert_eq!(stop().unwrap_err().to_string(), "no server is running");
//! // }
//! # }
//! ```
//!
//! # What it does not model
//!
//! It answers as a host does that grants everything, has room for everything and is never slow. So
//! it checks no argument's shape, no path and no quota; it has one principal and one capsule; it
//! knows no resource limits, no timers of persistent processes ([`Host::forget`] stands for them)
//! and no grants but those that [`Host::refuse`] takes away. Backpressure never holds a process
//! up, and a process takes its whole input at once. SIGSTOP and SIGCONT are noted and do nothing.
//! Cursors are not sealed. Random bytes are not random. To test these, run the
//! capsule with the real host.

mod host;
mod run;
mod script;
pub(crate) mod seam;
mod world;

pub use host::Host;
pub use run::{File, Run};
pub use script::Script;
