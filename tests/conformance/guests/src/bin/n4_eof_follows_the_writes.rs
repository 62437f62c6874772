//! Bytes that were written before a close arrive before the end of file.
//!
//! Interface process@1.1.0: "`attach(id)?.close-stdin()`. Child observes EOF; idempotent."; process@1.1.0: "A
//! successful return wrote every byte of `data`, in order"

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for round in 0..20 {
        let request = SpawnRequest {
            stdin: Some(b"prelude ".to_vec()),
            keep_stdin_open: Some(true),
            ..sh("cat")
        };
        let id = spawn_persistent(&request)?;
        write_stdin(&id, b"one ")?;
        write_stdin(&id, b"two")?;
        close_stdin(&id)?;
        let got = all(&id)?;
        check!(
            got == b"prelude one two",
            "round {round}: {:?}",
            String::from_utf8_lossy(&got)
        );
        release_process(&id)?;
    }
    Ok("20 rounds".into())
}
