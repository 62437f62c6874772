//! `max-lifetime-ms` ends a process, even one that ignores signals, and the process is then reaped; never early.
//! `some(0)` is `invalid-input`.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"wishes": {"grace-default-ms": 100}}"#: run);

fn run() -> Outcome {
    refused(
        "some(0)",
        spawn_persistent(&SpawnRequest {
            max_lifetime_ms: Some(0),
            ..sh("true")
        }),
        &ErrorCode::InvalidInput,
    )?;
    for script in ["sleep 1000", "trap '' TERM; while :; do sleep 0.01; done"] {
        let started = sys::clock_monotonic_ns();
        let id = spawn_persistent(&SpawnRequest {
            max_lifetime_ms: Some(400),
            ..sh(script)
        })?;
        let exit = wait(&id, GIVE_UP);
        let lived = ms_since(started);
        check!(lived >= 400, "it ended after {lived} ms");
        check!(
            matches!(&exit, Ok(exit) if exit.signal.is_some()),
            "the wait says {exit:?}"
        );
        until("it to be reaped", || {
            Ok((status(&id) == Err(ErrorCode::NoSuchProcess)).then_some(()))
        })?;
    }
    check!(list_processes(None)?.is_empty(), "reaped ones are listed");
    Ok("ended, and unknown".into())
}
