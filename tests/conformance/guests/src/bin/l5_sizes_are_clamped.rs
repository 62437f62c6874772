//! A ring is at most 8 MiB, whatever the request, and 1 MiB by default.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for (asked, kept) in [(Some(u32::MAX), 8 << 20), (None, 1 << 20)] {
        let id = spawn_persistent(&SpawnRequest {
            log_ring_bytes: asked,
            ..sh("head -c 9000000 /dev/zero")
        })?;
        exit_of(&id)?;
        let (got, _) = rest(&id, LogStream::Stdout, oldest())?;
        check!(got.len() == kept, "{asked:?} kept {} bytes", got.len());
        let info = status(&id)?;
        check!(
            info.buffered_bytes == kept as u64 && info.bytes_dropped == 9_000_000 - kept as u64,
            "{} buffered, {} dropped",
            info.buffered_bytes,
            info.bytes_dropped
        );
        release_process(&id)?;
    }
    Ok("8 MiB and 1 MiB".into())
}
