//! The audit log of the capsules' calls and their outcomes: one [`Record`] for each call (contract U1), and one for each decision
//! about the egress of their private networks (W4, [`network_observer`]). It names no wasm type.
//!
//! The adapter hands a record of every call to the embedder's hooks, and the embedder decides where it goes. The ready-made
//! [`ChainSink`] writes JSON lines, each with a hash over the line before, so that [`verify`] finds the first line
//! that was altered, removed, inserted or moved:
//!
//! ```
//! use std::time::Duration;
//!
//! use capsule_host::audit::{AuditSink, ChainSink, Outcome, Record, verify};
//! use capsule_host::supervisor::{Owner, Principal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("audit.jsonl");
//! let sink = ChainSink::open(&path)?;
//! let owner = Owner { principal: Principal::Named("ada".into()), capsule: "notes".into() };
//! let mut record = Record::new(&owner, "spawn");
//! record.outcome = Outcome::OK;
//! sink.record(&record);
//! let head = sink.finish(Duration::from_secs(10))?;
//!
//! let file = std::io::BufReader::new(std::fs::File::open(&path)?);
//! let verified = verify(file, Some(&head))?;
//! assert_eq!((verified.calls, verified.lost, verified.finished), (1, 0, true));
//! # Ok(())
//! # }
//! ```
//!
//! These constraints shape the code:
//! - A record never holds the value of a variable, a byte of stdin or output, or an id, whatever a guest puts into its arguments.
//!   A guest cannot make a record large.
//! - Recording never waits for a disk or a reader. Records that cannot be kept are counted, and the count is recorded.
//! - No guest can fill a disk: a [`ChainSink`] limits the rate of each owner's records ([`AuditRate`]), and one line counts the
//!   records over the rate, by operation and outcome. An audit sink of the embedder's receives every record, and has to bound
//!   itself.
//! - The chain contains no secret. It reveals damage, and changes of a part of the file. A user who may rewrite the whole file can
//!   make a new chain, or cut lines off its end. A head that is kept out of that user's reach reveals both.

mod chain;
mod file;
mod network;
mod rated;
mod record;
mod redact;
mod sink;
mod verify;

pub use chain::{Head, LINE_MAX, ParseHeadError};
pub use file::OpenError;
pub use network::network_observer;
pub use rated::AuditRate;
pub use record::{Injected, KeyDetails, NetworkDetails, Outcome, Record, SpawnDetails};
#[cfg(feature = "component")]
pub(crate) use redact::redacted;
pub use sink::{AuditSink, ChainSink, FinishError};
pub use verify::{Flaw, Verified, VerifyError, verify};
