//! A process that Alice started does not exist for Bob in the same capsule: not by its id, not in a list, not in
//! `status-many`.
//!
//! Interface process@1.1.0: "wrong-owner / unknown / reaped all collapse to `no-such-process` (no oracle).";
//! process@1.1.0: "NEVER another principal's or capsule's."

use conformance_guest::*;

case!(r#"{"steps": ["make", {"call": "look", "as": "bob"}, "still"]}"#: make, look, still);

fn make() -> Outcome {
    start("sleep 1000")
}

fn look(id: &str) -> Outcome {
    let none = &ErrorCode::NoSuchProcess;
    refused("status", status(id), none)?;
    refused("stop", stop(id, Some(0)), none)?;
    refused("wait", wait(id, 0), none)?;
    // The published text allows both answers. With either, the process must not be released.
    match release_process(id) {
        Ok(()) | Err(ErrorCode::NoSuchProcess) => {}
        Err(other) => return fail(format!("release-process: {other:?}")),
    }
    let own = start("exit 0")?;
    let many = status_many(&[id.to_owned(), own.clone(), id.to_owned()])?;
    check!(many.len() == 1 && many[0].id == own, "status-many: {many:?}");
    let listed = list_processes(None)?;
    check!(listed.len() == 1 && listed[0].id == own, "list-processes: {listed:?}");
    Ok(id.into())
}

fn still(id: &str) -> Outcome {
    check!(status(id)?.phase == ProcessPhase::Running, "Bob ended it");
    Ok("not there for Bob".into())
}
