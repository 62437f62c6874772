//! `close-stdin` returns at once and can be repeated; end of file follows the prelude and all writes accepted before.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let request = SpawnRequest {
        stdin: Some(vec![b'a'; 3 << 20]),
        keep_stdin_open: Some(true),
        ..sh("read go < gate; tee copy | wc -c; tr -d a < copy | wc -c")
    };
    let id = spawn_persistent(&request)?;
    check!(status(&id)?.stdin_open, "stdin is not open");
    // Nothing reads, and the call may not wait for a reader.
    for _ in 0..3 {
        close_stdin(&id)?;
    }
    check!(!status(&id)?.stdin_open, "stdin is still open");
    refused("a write after the close", write_stdin(&id, b"x"), &ErrorCode::Closed)?;
    output("echo > gate")?;
    check!(exit_of(&id)? == code(0), "the child failed");
    let got = String::from_utf8_lossy(&all(&id)?).into_owned();
    check!(
        got.split_whitespace().collect::<Vec<_>>() == ["3145728", "0"],
        "other than the prelude arrived: {got:?}"
    );
    close_stdin(&id)?;
    Ok("end of file came last".into())
}
