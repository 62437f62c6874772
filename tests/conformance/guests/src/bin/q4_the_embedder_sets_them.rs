//! The embedder can set defaults and ceilings, and each one that is set holds: of processes, ids, captured output, waits and grace.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"processes-per-principal": 3, "retained-per-owner": 5, "capture-max": 1000, "wait-max-ms": 50,
                        "grace-default-ms": 50}}"#: run);

fn run() -> Outcome {
    refused(
        "capture-max",
        spawn(&sh("head -c 1001 /dev/zero")),
        &ErrorCode::TooLarge,
    )?;
    let ids = [
        start("trap '' TERM; echo up; while :; do sleep 0.01; done")?,
        start("sleep 1000")?,
        start("sleep 1000")?,
    ];
    refused("processes-per-principal", spawn(&sh("true")), &ErrorCode::Quota)?;
    refused("wait-max-ms", wait(&ids[1], u64::MAX), &ErrorCode::WaitTimeout)?;
    printed(&ids[0], "up")?;
    let exit = stop(&ids[0], None)?;
    check!(exit == by_signal(9), "grace-default-ms: {exit:?}");
    for _ in 0..3 {
        exit_of_long(&start("exit 0")?)?;
    }
    refused(
        "retained-per-owner",
        spawn_persistent(&sh("true")),
        &ErrorCode::RegistryFull,
    )?;
    Ok("five settings".into())
}

fn exit_of_long(id: &str) -> Result<(), Stop> {
    until("the exit", || Ok(wait(id, GIVE_UP).ok()))?;
    Ok(())
}
