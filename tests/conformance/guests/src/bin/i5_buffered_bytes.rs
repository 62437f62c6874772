//! `buffered-bytes` is what `read-logs` would return, for both streams, and zero after a read.
//!
//! Interface process@1.1.0: "Bytes currently buffered and drainable (stdout + stderr)."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = start("printf 12345; printf 123 >&2")?;
    // To the end of both streams, which may come after the exit is seen.
    all(&id)?;
    rest(&id, LogStream::Stderr, oldest())?;
    let before = status(&id)?.buffered_bytes;
    check!(before == 8, "{before} of 8 bytes");
    read_since(&id, LogStream::Stdout, &oldest(), 100)?;
    let looked = status(&id)?.buffered_bytes;
    check!(looked == 8, "{looked} after a read that does not drain");
    let logs = read_logs(&id)?;
    check!(logs.stdout == "12345" && logs.stderr == "123", "{logs:?}");
    let after = status(&id)?.buffered_bytes;
    check!(after == 0, "{after} after the drain");
    Ok("8, then none".into())
}
