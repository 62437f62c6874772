//! Bytes that were written before a close arrive before the end of file.

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
