//! A lifetime above the host's ceiling is clamped to it, and the ceiling is the default.
//!
//! Interface process@1.1.0: "Any value is clamped DOWN to that ceiling — a guest CANNOT request an unbounded
//! lifetime."; process@1.1.0: "`none` => the profile ceiling."

use conformance_guest::*;

case!(r#"{"settings": {"lifetime-max-ms": 300}, "wishes": {"grace-default-ms": 100}}"#: run);

fn run() -> Outcome {
    for asked in [None, Some(3_600_000), Some(u64::MAX)] {
        let started = sys::clock_monotonic_ns();
        let id = spawn_persistent(&SpawnRequest {
            max_lifetime_ms: asked,
            ..sh("sleep 1000")
        })?;
        until("its end", || Ok(status(&id).is_err().then_some(())))?;
        check!(ms_since(started) >= 300, "{asked:?}: it ended early");
    }
    Ok("300 ms for all".into())
}
