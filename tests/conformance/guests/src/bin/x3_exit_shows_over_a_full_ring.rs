//! An exit is visible although a full backpressure ring keeps the rest in the pipe, and the rest arrives as it is read.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let request = SpawnRequest {
        log_ring_bytes: Some(4096),
        overflow: Some(OverflowPolicy::Backpressure),
        ..sh("head -c 40000 /dev/zero; exit 8")
    };
    let id = spawn_persistent(&request)?;
    check!(exit_of(&id)? == code(8), "another exit");
    let first = read_since(&id, LogStream::Stdout, &oldest(), 100_000)?;
    check!(
        !first.drained_eof,
        "end of file after {} of 40000 bytes",
        first.data.len()
    );
    let (rest, lost) = rest(&id, LogStream::Stdout, first.next)?;
    check!(
        first.data.len() + rest.len() == 40_000 && lost == 0,
        "{} bytes, {lost} lost",
        first.data.len() + rest.len()
    );
    Ok("exit first, then 40000 bytes".into())
}
