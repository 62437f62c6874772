//! Both ephemeral calls ignore the fields for persistent processes, but `spawn-background` keeps stdin open if
//! requested.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn request(script: &str) -> SpawnRequest {
    SpawnRequest {
        label: Some("label".into()),
        overflow: Some(OverflowPolicy::DropOldest),
        log_ring_bytes: Some(1),
        max_lifetime_ms: Some(0),
        idle_timeout_ms: Some(0),
        exit_retention_ms: Some(0),
        keep_stdin_open: Some(true),
        ..sh(script)
    }
}

fn run() -> Outcome {
    let done = spawn(&request("cat; head -c 100000 /dev/zero"))?;
    check!(
        done.exit == code(0) && done.stdout.len() == 100_000,
        "spawn: {} bytes, {:?}",
        done.stdout.len(),
        done.exit
    );
    let handle = spawn_background(&request("read line; echo got $line; cat >&2; exit 4"))?;
    check!(list_processes(None)?.is_empty(), "an ephemeral process is listed");
    check!(handle.write_stdin(b"one\n")? == 4, "the write was cut");
    handle.close_stdin()?;
    let ended = handle.wait_with_output(Some(GIVE_UP))?;
    check!(
        ended.exit == code(4) && ended.stdout == "got one\n",
        "spawn-background: {ended:?}"
    );
    let closed = spawn_background(&sh("cat; sleep 1000"))?;
    refused("without keep-stdin-open", closed.write_stdin(b"x"), &ErrorCode::Closed)?;
    Ok("ignored, and stdin kept".into())
}
