//! A process that Alice started through one capsule does not exist for another capsule, even on her behalf.
//!
//! Interface process@1.1.0: "wrong-owner / unknown / reaped all collapse to `no-such-process` (no oracle).";
//! process@1.1.0: "NEVER another principal's or capsule's."

use conformance_guest::*;

case!(r#"{"steps": ["make", {"call": "look", "capsule": "b"}, "still"]}"#: make, look, still);

fn make() -> Outcome {
    start("sleep 1000")
}

fn look(id: &str) -> Outcome {
    let none = &ErrorCode::NoSuchProcess;
    refused("status", status(id), none)?;
    refused("signal", signal(id, ProcessSignal::Int), none)?;
    refused("stop", stop(id, Some(0)), none)?;
    // The published text allows both answers. With either, the process must not be released.
    match release_process(id) {
        Ok(()) | Err(ErrorCode::NoSuchProcess) => {}
        Err(other) => return fail(format!("release-process: {other:?}")),
    }
    check!(
        list_processes(None)?.is_empty() && status_many(&[id.to_owned()])?.is_empty(),
        "it is listed"
    );
    Ok(id.into())
}

fn still(id: &str) -> Outcome {
    check!(status(id)?.phase == ProcessPhase::Running, "the other capsule ended it");
    Ok("not there for another capsule".into())
}
