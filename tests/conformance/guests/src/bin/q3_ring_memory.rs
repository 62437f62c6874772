//! A spawn whose rings could exceed the principal's memory is `quota`; a release gives the memory back.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"ring-memory-per-principal": 100000, "processes-per-principal": 30}}"#: run);

fn run() -> Outcome {
    let rings = |bytes: u32| SpawnRequest {
        log_ring_bytes: Some(bytes),
        ..sh("exit 0")
    };
    refused(
        "one that is larger than all",
        spawn_persistent(&rings(60_000)),
        &ErrorCode::Quota,
    )?;
    // Both streams count: 40000 bytes each time.
    let first = spawn_persistent(&rings(20_000))?;
    spawn_persistent(&rings(20_000))?;
    refused("a third", spawn_persistent(&rings(20_000)), &ErrorCode::Quota)?;
    let small = spawn_persistent(&rings(4096));
    check!(small.is_ok(), "a small one does not fit: {small:?}");
    exit_of(&first)?;
    release_process(&first)?;
    let again = spawn_persistent(&rings(20_000));
    check!(again.is_ok(), "a release gave nothing back: {again:?}");
    Ok("100000 bytes".into())
}
