//! If a child closes its end while it runs on, a blocked write fails with `closed`.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = spawn_persistent(&SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("read line; exec 0</dev/null; echo gone; sleep 1000")
    })?;
    check!(status(&id)?.stdin_open, "its stdin is not open");
    check!(write_stdin(&id, b"go\n")? == 3, "its stdin took nothing");
    printed(&id, "gone")?;
    let outcome = write_stdin(&id, &vec![b'x'; 1 << 20]);
    refused("it cannot be read", outcome, &ErrorCode::Closed)?;
    refused("the next", write_stdin(&id, b"x"), &ErrorCode::Closed)?;
    let info = status(&id)?;
    check!(info.phase == ProcessPhase::Running && !info.stdin_open, "{info:?}");
    close_stdin(&id)?;
    Ok("closed, and it runs on".into())
}
