//! What capsules asked of the host, and what came of it: one [`Record`] a call (contract U1). Names no wasm type.
//!
//! The adapter hands a record of every call to the embedder's hooks; where it goes is the embedder's affair. A ready
//! [`ChainSink`] writes JSON lines of which each holds a hash over the one before, so that [`verify`] finds the first line
//! that was altered, removed, put in or moved:
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
//! What shapes the code here:
//! - A record never holds the value of a variable, a byte of stdin or output, or an id, whatever a guest puts where; and
//!   a guest cannot make one large.
//! - Recording never waits: not for a disk, not for a reader. What cannot be kept is counted, and the count is recorded.
//! - No guest fills a disk: what a [`ChainSink`] writes of one owner has a rate ([`AuditRate`]), and one line tells of what was
//!   over it, by operation and outcome. A sink of the embedder's own is handed every record, and keeps its own bounds.
//! - The chain has no secret. It tells of damage and of meddling with a part; who may rewrite the whole file can make a
//!   new chain of it, and cut lines off its end. Against both helps a head kept where they cannot reach it.

mod chain;
mod file;
mod rated;
mod record;
mod redact;
mod sink;
mod verify;

pub use chain::{Head, LINE_MAX, ParseHeadError};
pub use file::OpenError;
pub use rated::AuditRate;
pub use record::{Injected, Outcome, Record, SpawnDetails};
pub use sink::{AuditSink, ChainSink, FinishError};
pub use verify::{Flaw, Verified, VerifyError, verify};
