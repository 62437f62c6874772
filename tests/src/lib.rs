//! The helpers that the tests share: hosts, children, waits for facts, and counts of what is held. `tests/README.md`
//! lists the suites.
//!
//! A helper that fails panics, because it is part of a test.

pub mod capsules;
pub mod holdings;
pub mod machine;

mod busy;
mod child;
mod host;
mod output;
mod proc;
mod wait;

pub use self::busy::Busy;
pub use self::child::{cat, code, command, forever, sh, signalled};
pub use self::host::{AllowAll, Host};
pub use self::output::{chunk, follow, lines, news, noise, printed_pid};
pub use self::proc::{runs, state};
pub use self::wait::{PATIENCE, breathe, exit, until, watchdog};
