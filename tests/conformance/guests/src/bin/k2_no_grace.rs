//! `stop(0)` is TERM, then KILL at once; a grace above the host's maximum is the maximum.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"grace-max-ms": 300, "grace-default-ms": 100}}"#: run);

fn run() -> Outcome {
    for grace in [Some(0), None, Some(3_600_000), Some(u64::MAX)] {
        let id = start("trap '' TERM; echo up; while :; do sleep 0.01; done")?;
        printed(&id, "up")?;
        let exit = stop(&id, grace)?;
        check!(exit == by_signal(9), "{grace:?}: {exit:?}");
    }
    Ok("four graces".into())
}
