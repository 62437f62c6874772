//! A concurrency slot is given back before the exit is visible: after `wait` there is always room.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"processes-per-principal": 1}}"#: run);

fn run() -> Outcome {
    for round in 0..40 {
        let id =
            start("exit 3").map_err(|_| Stop::Failed(format!("no room in round {round}, after the exit was seen")))?;
        exit_of(&id)?;
        check!(spawn(&sh("true")).is_ok(), "no room for a spawn in round {round}");
        release_process(&id)?;
    }
    Ok("40 rounds with a single slot".into())
}
