//! More than 1 MiB in one call is `too-large`, with no byte written, and the next write succeeds.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = spawn_persistent(&SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("cat")
    })?;
    write_stdin(&id, b"a")?;
    refused(
        "1 MiB and a byte",
        write_stdin(&id, &vec![b'x'; (1 << 20) + 1]),
        &ErrorCode::TooLarge,
    )?;
    write_stdin(&id, b"b")?;
    close_stdin(&id)?;
    let got = all(&id)?;
    check!(got == b"ab", "{} bytes arrived", got.len());
    Ok("none of it arrived".into())
}
