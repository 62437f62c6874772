//! An untouched process is ended and reaped, even if `status`, `status-many` and `list-processes` are called all the
//! time; never early. `some(0)` is `invalid-input`.
//!
//! Interface process@1.1.0: "Reap an UNTOUCHED persistent process (no read / wait / reattach / signal / write) after
//! this idle interval"; process@1.1.0: "`some(0)` is rejected with `invalid-input`."

use conformance_guest::*;

case!(r#"{"wishes": {"grace-default-ms": 100}}"#: run);

fn run() -> Outcome {
    refused(
        "some(0)",
        spawn_persistent(&SpawnRequest {
            idle_timeout_ms: Some(0),
            ..sh("true")
        }),
        &ErrorCode::InvalidInput,
    )?;
    let started = sys::clock_monotonic_ns();
    let id = spawn_persistent(&SpawnRequest {
        idle_timeout_ms: Some(500),
        ..sh("sleep 1000")
    })?;
    until("its end", || {
        status_many(std::slice::from_ref(&id))?;
        list_processes(None)?;
        Ok((status(&id) == Err(ErrorCode::NoSuchProcess)).then_some(()))
    })?;
    let lived = ms_since(started);
    check!(lived >= 500, "it ended after {lived} ms");
    Ok("looked at, and ended".into())
}
