//! Under `backpressure` a reader that follows a cursor gets every byte of a stream far longer than the ring, without
//! `read-logs`.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    need("seq")?;
    let request = SpawnRequest {
        log_ring_bytes: Some(4096),
        overflow: Some(OverflowPolicy::Backpressure),
        ..sh("seq -f %07.0f 0 99999")
    };
    let id = spawn_persistent(&request)?;
    let whole: String = (0..100_000).map(|n| format!("{n:07}\n")).collect();
    let (got, lost) = rest(&id, LogStream::Stdout, oldest())?;
    check!(
        lost == 0 && got.len() == whole.len(),
        "{} bytes came, {lost} were lost",
        got.len()
    );
    check!(got == whole.as_bytes(), "other bytes came");
    check!(status(&id)?.bytes_dropped == 0, "bytes were evicted");
    check!(exit_of(&id)? == code(0), "the child failed");
    Ok("800000 bytes through 4096".into())
}
