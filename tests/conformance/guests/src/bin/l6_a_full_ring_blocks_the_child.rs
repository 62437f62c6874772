//! Under `backpressure` the child blocks while the ring is full, and continues as soon as `read-logs` makes room.
//!
//! Interface process@1.1.0: "Stop draining the child's pipe when the ring is full, so the OS pipe buffer fills and the
//! child blocks on write."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let request = SpawnRequest {
        log_ring_bytes: Some(4096),
        overflow: Some(OverflowPolicy::Backpressure),
        ..sh("head -c 400000 /dev/zero | tr '\\0' a; echo > done")
    };
    let id = spawn_persistent(&request)?;
    until(
        "a full ring",
        || Ok((status(&id)?.buffered_bytes >= 4096).then_some(())),
    )?;
    // More than the ring and any pipe hold has still to be written, so the child cannot have finished, however long
    // this takes.
    check!(holds("test ! -e done")?, "the child wrote what there is no room for");
    let buffered = status(&id)?.buffered_bytes;
    check!(buffered == 4096, "{buffered} bytes in a ring of 4096");
    let mut got = 0;
    until("all of it", || {
        got += read_logs(&id)?.stdout.len();
        Ok((got == 400_000).then_some(()))
    })?;
    check!(
        exit_of(&id)? == code(0) && holds("test -e done")?,
        "the child did not go on"
    );
    check!(status(&id)?.bytes_dropped == 0, "bytes were lost");
    Ok("blocked, then 400000 bytes".into())
}
