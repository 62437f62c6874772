//! Along any chain of cursors, the bytes delivered and the bytes dropped add up to the position in the stream.
//!
//! Interface process@1.1.0: "Cumulative bytes evicted from this stream's ring before they could be delivered through
//! this cursor"
//!
//! The stream consists of lines of eight bytes that contain their position, so a chunk shows its own position. The ring
//! is small, the child is fast, and the reader takes pieces of odd sizes, so that much may be lost.

use conformance_guest::*;

case!(run);

/// The length of the whole stream in bytes.
const ALL: u64 = 480_000;

fn run() -> Outcome {
    need("seq")?;
    let request = SpawnRequest {
        log_ring_bytes: Some(4096),
        ..sh("seq -f %07.0f 0 59999")
    };
    let id = spawn_persistent(&request)?;
    let (mut cursor, mut delivered, mut chunks) = (oldest(), 0, 0);
    // The start of the chain: the oldest byte that was retained at its first read.
    let mut start = None;
    loop {
        let size = 16 + chunks * 37 % 1500;
        let chunk = read_since(&id, LogStream::Stdout, &cursor, size)?;
        let counted = delivered + chunk.bytes_dropped;
        if let Some(place) = place_of(&chunk.data) {
            let start = *start.get_or_insert(place - counted);
            check!(
                place == start + counted,
                "chunk {chunks}: {delivered} delivered, {} dropped since {start}, and it stands at {place}",
                chunk.bytes_dropped
            );
            chunks += 1;
        }
        delivered += chunk.data.len() as u64;
        cursor = chunk.next;
        if chunk.drained_eof {
            let all = start.unwrap_or_default() + delivered + chunk.bytes_dropped;
            check!(all == ALL, "{all} of {ALL} bytes are accounted for");
            return Ok(format!(
                "{chunks} chunks, {} bytes lost, all accounted for",
                chunk.bytes_dropped
            ));
        }
    }
}

/// The position of a chunk in the stream, from its content.
fn place_of(data: &[u8]) -> Option<u64> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let line = data.get(end + 1..end + 8)?;
    let number: u64 = std::str::from_utf8(line).ok()?.parse().ok()?;
    (number * 8).checked_sub(end as u64 + 1)
}
