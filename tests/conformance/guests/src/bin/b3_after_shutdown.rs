//! After a graceful shutdown of the host no process that it started runs, in any session.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"locked": "lock"}, {"locked": "other"}, {"do": "shutdown"}, {"unlocked": "lock"}, {"unlocked": "other"}]}"#: make);

fn make() -> Outcome {
    for lock in ["lock", "other"] {
        let id = start(&format!(
            "trap '' TERM; {}; echo up; while :; do sleep 0.01; done",
            daemon(lock)
        ))?;
        printed(&id, "up")?;
    }
    Ok("two daemons gone".into())
}
