//! Dropping the handle of `spawn-background` ends the whole tree, including daemons in sessions of their own.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let handle = spawn_background(&sh(&format!("{}; echo > up; sleep 1000", daemon("lock"))))?;
    until("the daemon", || Ok(holds("test -e up")?.then_some(())))?;
    check!(held("lock")?, "the daemon does not run");
    drop(handle);
    until_free("lock")?;
    Ok("gone with the handle".into())
}
