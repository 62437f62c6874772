//! The slot of an ephemeral process is free when the drop of its handle returns.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"processes-per-principal": 1}}"#: run);

fn run() -> Outcome {
    for round in 0..20 {
        match spawn_background(&sh("sleep 1000")) {
            Ok(handle) => drop(handle),
            Err(error) => return fail(format!("round {round}: {error:?}")),
        }
    }
    check!(spawn(&sh("true")).is_ok(), "no room after the last drop");
    Ok("20 rounds with a single slot".into())
}
