//! Without `keep-stdin-open`, `write-stdin` is `closed`, with a prelude or without.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for stdin in [None, Some(Vec::new()), Some(b"prelude".to_vec())] {
        let id = spawn_persistent(&SpawnRequest {
            stdin,
            ..sh("sleep 1000")
        })?;
        refused("a write", write_stdin(&id, b"x"), &ErrorCode::Closed)?;
        check!(!status(&id)?.stdin_open, "stdin-open is true");
        close_stdin(&id)?;
        stop(&id, Some(0))?;
    }
    Ok("closed".into())
}
