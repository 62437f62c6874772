//! A refused spawn takes nothing: after any number of refusals of any kind, all slots and ids are still free.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"processes-per-principal": 2, "retained-per-owner": 2}, "grants": {"commands": ["sh", "absent"]}}"#: run);

fn run() -> Outcome {
    for _ in 0..10 {
        refused_as("absent", spawn(&command("absent", &[])), "not-found:")?;
        refused_as("absent", spawn_persistent(&command("absent", &[])), "not-found:")?;
        let escape = SpawnRequest {
            cwd: Some("..".into()),
            ..sh("true")
        };
        refused("out", spawn_persistent(&escape), &ErrorCode::BoundaryEscape)?;
        refused(
            "not granted",
            spawn_persistent(&command("cat", &[])),
            &ErrorCode::CapabilityDenied,
        )?;
    }
    let listed = list_processes(None)?;
    check!(listed.is_empty(), "refused spawns are listed: {listed:?}");
    let ids = [start("sleep 1000")?, start("sleep 1000")?];
    refused("a third", spawn(&sh("true")), &ErrorCode::Quota)?;
    for _ in 0..10 {
        refused("one more", spawn_persistent(&sh("true")), &ErrorCode::Quota).or_else(|_| {
            // Both quotas are full, and the contract does not define the order between them.
            refused("one more", spawn_persistent(&sh("true")), &ErrorCode::RegistryFull)
        })?;
    }
    stop(&ids[0], Some(0))?;
    start("sleep 1000")?;
    Ok("40 refused, both slots there".into())
}
