//! After its exit a process stays with its output for its retention, and then its id is as unknown as one that was
//! never issued; a retention above the ceiling is the ceiling.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"retention-max-ms": 700}}"#: run);

fn run() -> Outcome {
    for asked in [Some(500), Some(3_600_000), Some(u64::MAX), None] {
        let kept = asked.unwrap_or(700).min(700);
        let started = sys::clock_monotonic_ns();
        let id = spawn_persistent(&SpawnRequest {
            exit_retention_ms: asked,
            ..sh("printf tail")
        })?;
        let gone = until("the end of its retention", || {
            match read_since(&id, LogStream::Stdout, &oldest(), 100) {
                Ok(chunk) if chunk.drained_eof && chunk.data != b"tail" => fail("its output went before it"),
                Ok(_) => Ok(None),
                Err(ErrorCode::NoSuchProcess) => Ok(Some(ms_since(started))),
                Err(other) => fail(format!("{other:?}")),
            }
        })?;
        check!(gone >= kept, "{asked:?}: gone {gone} ms after its start");
        refused("afterwards", wait(&id, 0), &ErrorCode::NoSuchProcess)?;
    }
    check!(list_processes(None)?.is_empty(), "some are still listed");
    Ok("500 and 700 ms".into())
}
