//! Refuses to build a capsule with files that its own processes made (contract B6).
//!
//! What exists when a process starts is protected from it, but what does not exist yet cannot be. If the workspace contains the
//! capsule's folder, a process can make a `build.rs`, a `.venv` or a module there, and the next build would use it. So what a build
//! reads is listed before the first process starts (`listing`), and compared when the last one has ended. What is new is kept
//! outside of the workspace's reach (`record`), and a build is refused until the user has removed it or accepted it.
//!
//! Only what happened while processes could run counts, so an author edits the sources between two runs without being asked.

mod listing;
mod record;

pub(crate) use listing::{Found, Reads};
pub(crate) use record::{Refused, Watch, check};
