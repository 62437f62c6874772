//! `release-process` of a live process is `invalid-input` and changes nothing; of an exited one it frees the id.
//!
//! Interface process@1.1.0: "frees the retained-id slot + discards the buffered tail WITHOUT signalling.
//! `invalid-input` if still running (use `stop`). Idempotent."

use conformance_guest::*;

case!(r#"{"settings": {"retained-per-owner": 1}}"#: run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let id = start("echo out; read x < gate; exit 2")?;
    refused("live", release_process(&id), &ErrorCode::InvalidInput)?;
    check!(
        status(&id)?.phase == ProcessPhase::Running,
        "it was released all the same"
    );
    output("echo > gate")?;
    exit_of(&id)?;
    refused(
        "before it is released",
        spawn_persistent(&sh("true")),
        &ErrorCode::RegistryFull,
    )?;
    release_process(&id)?;
    release_process(&id)?;
    refused("its output", read_logs(&id), &ErrorCode::NoSuchProcess)?;
    refused("its exit", wait(&id, 0), &ErrorCode::NoSuchProcess)?;
    let next = start("true");
    check!(next.is_ok(), "the slot was not freed: {next:?}");
    Ok("invalid, then free".into())
}
