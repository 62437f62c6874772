//! `max-bytes: 0` returns no data and a cursor that works; the largest number returns at most 4 MiB.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let request = SpawnRequest {
        log_ring_bytes: Some(8 << 20),
        ..sh("head -c 6000000 /dev/zero; echo end")
    };
    let id = spawn_persistent(&request)?;
    exit_of(&id)?;
    let nothing = read_since(&id, LogStream::Stdout, &oldest(), 0)?;
    check!(
        nothing.data.is_empty() && !nothing.drained_eof && nothing.bytes_dropped == 0,
        "max-bytes 0: {} bytes",
        nothing.data.len()
    );
    let much = read_since(&id, LogStream::Stdout, &nothing.next, u32::MAX)?;
    check!(
        !much.data.is_empty() && much.data.len() <= 4 << 20,
        "{} bytes at once",
        much.data.len()
    );
    let (rest, lost) = rest(&id, LogStream::Stdout, much.next)?;
    check!(
        much.data.len() + rest.len() == 6_000_004 && lost == 0,
        "{} bytes in all, {lost} lost",
        much.data.len() + rest.len()
    );
    Ok(format!("{} bytes at once", much.data.len()))
}
