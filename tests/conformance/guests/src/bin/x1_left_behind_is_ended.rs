//! When the command exits, the rest of its tree is ended at once, in whatever session it is: after `wait` nothing runs.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for round in 0..5 {
        let id = start(&format!("rm -f lock; {}; echo up; exit 5", daemon("lock")))?;
        check!(exit_of(&id)? == code(5), "another exit");
        check!(!held("lock")?, "round {round}: after the exit a daemon still runs");
        release_process(&id)?;
        let done = spawn(&sh(&format!("{}; echo up; exit 5", daemon("lock"))))?;
        check!(done.exit == code(5) && done.stdout == "up\n", "spawn: {done:?}");
        check!(!held("lock")?, "round {round}: after spawn a daemon still runs");
    }
    Ok("ten daemons gone".into())
}
