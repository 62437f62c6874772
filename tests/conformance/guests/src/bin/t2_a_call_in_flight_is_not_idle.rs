//! A process with a call in flight is not idle, however long the call takes; afterwards it is.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"wishes": {"grace-default-ms": 100}}"#: run);

fn run() -> Outcome {
    // If the machine stalls at the wrong moment, a wait may come too late to keep the process. This does not happen
    // three times.
    for attempt in 1.. {
        let id = spawn_persistent(&SpawnRequest {
            idle_timeout_ms: Some(700),
            ..sh("sleep 1000")
        })?;
        let waited = wait(&id, 2000);
        if waited == Err(ErrorCode::WaitTimeout) {
            until("its end", || {
                Ok((status(&id) == Err(ErrorCode::NoSuchProcess)).then_some(()))
            })?;
            break;
        }
        check!(attempt < 3, "in the middle of a wait: {waited:?}");
    }
    Ok("2 s, with 700 ms of idle time".into())
}
