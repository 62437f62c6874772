//! Bytes that `read-logs` drained count as dropped for a cursor, and not in `process-info`, which counts eviction only.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let request = SpawnRequest {
        log_ring_bytes: Some(4096),
        ..sh("exec 3<>gate; printf 0123456789; read x <&3; printf abcde; read x <&3; head -c 5000 /dev/zero")
    };
    let id = spawn_persistent(&request)?;
    printed(&id, "9")?;
    let early = read_since(&id, LogStream::Stdout, &oldest(), 4)?.next;
    check!(read_logs(&id)?.stdout == "0123456789", "the drain is not complete");
    output("echo > gate")?;
    printed(&id, "abcde")?;
    let later = read_since(&id, LogStream::Stdout, &early, 100)?;
    check!(
        later.data == b"abcde" && later.bytes_dropped == 6,
        "after the drain: {later:?}"
    );
    let fresh = read_since(&id, LogStream::Stdout, &oldest(), 100)?;
    check!(
        fresh.data == b"abcde" && fresh.bytes_dropped == 0,
        "a new chain: {fresh:?}"
    );
    let dropped = status(&id)?.bytes_dropped;
    check!(dropped == 0, "a drain counts as eviction: {dropped}");
    output("echo > gate")?;
    exit_of(&id)?;
    let info = status(&id)?;
    check!(
        info.bytes_dropped == 5005 - 4096,
        "{} evicted, of 5005 bytes in a ring of 4096",
        info.bytes_dropped
    );
    let last = read_since(&id, LogStream::Stdout, &early, 10_000)?;
    check!(
        last.data.len() == 4096 && last.bytes_dropped == 6 + 5005 - 4096,
        "{} delivered, {} dropped",
        last.data.len(),
        last.bytes_dropped
    );
    Ok("6 drained, 909 evicted".into())
}
