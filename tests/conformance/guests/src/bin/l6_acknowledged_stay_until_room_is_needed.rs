//! Under `backpressure` acknowledged bytes stay readable until their room is needed; a second reader that comes too
//! late sees its loss.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let request = SpawnRequest {
        log_ring_bytes: Some(4096),
        overflow: Some(OverflowPolicy::Backpressure),
        ..sh("head -c 3000 /dev/zero | tr '\\0' a; read x < gate; head -c 3000 /dev/zero | tr '\\0' b")
    };
    let id = spawn_persistent(&request)?;
    until("3000 bytes", || Ok((status(&id)?.buffered_bytes == 3000).then_some(())))?;
    let first = read_since(&id, LogStream::Stdout, &oldest(), 1000)?;
    let second = read_since(&id, LogStream::Stdout, &first.next, 10_000)?;
    let third = read_since(&id, LogStream::Stdout, &second.next, 10_000)?;
    check!(
        second.data.len() == 2000 && third.data.is_empty(),
        "{} and {}",
        second.data.len(),
        third.data.len()
    );
    let again = read_since(&id, LogStream::Stdout, &oldest(), 10_000)?;
    check!(
        again.data.len() == 3000 && again.bytes_dropped == 0,
        "acknowledged bytes went without need: {} left",
        again.data.len()
    );
    output("echo > gate")?;
    check!(exit_of(&id)? == code(0), "the child failed");
    let (rest_of_first, lost) = rest(&id, LogStream::Stdout, third.next)?;
    check!(
        rest_of_first.len() == 3000 && lost == 0,
        "the reader in front: {} bytes, {lost} lost",
        rest_of_first.len()
    );
    let (rest_of_slow, lost) = rest(&id, LogStream::Stdout, first.next)?;
    check!(
        rest_of_slow.len() as u64 + lost == 5000 && lost > 0,
        "the slow reader: {} bytes, {lost} lost",
        rest_of_slow.len()
    );
    check!(rest_of_slow.ends_with(&[b'b'; 3000]), "the slow reader got other bytes");
    Ok(format!("kept without need, then {lost} given up"))
}
