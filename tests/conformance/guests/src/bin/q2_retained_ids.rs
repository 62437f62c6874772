//! Ids, live and exited, are limited for each principal and capsule (`registry-full`); others have their own limit, and
//! a release makes room.
//!
//! Interface process@1.1.0: "The per-principal/per-capsule RETAINED-id cap is full (live + exited-but-unreleased)."

use conformance_guest::*;

case!(r#"{"settings": {"retained-per-owner": 3}, "steps": ["fill", {"call": "room", "as": "bob"}, {"call": "room", "capsule": "b"}, "release"]}"#: fill, room, release);

fn fill() -> Outcome {
    let first = start("exit 0")?;
    exit_of(&first)?;
    exit_of(&start("exit 0")?)?;
    start("sleep 1000")?;
    refused(
        "a fourth",
        spawn_persistent(&sh("echo >> ran")),
        &ErrorCode::RegistryFull,
    )?;
    check!(spawn(&sh("test ! -e ran"))?.exit == code(0), "a refused command ran");
    Ok(first)
}

fn room(id: &str) -> Outcome {
    let started = start("exit 0");
    check!(started.is_ok(), "another owner has no room: {started:?}");
    Ok(id.into())
}

fn release(id: &str) -> Outcome {
    release_process(id)?;
    let started = start("sleep 1000")?;
    refused(
        "a fourth again",
        spawn_persistent(&sh("true")),
        &ErrorCode::RegistryFull,
    )?;
    stop(&started, Some(0))?;
    start("exit 0")?;
    Ok("three".into())
}
