//! A full ring of one stream holds up only that stream.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for (full, other, stream) in [("1", "2", LogStream::Stderr), ("2", "1", LogStream::Stdout)] {
        let request = SpawnRequest {
            log_ring_bytes: Some(4096),
            overflow: Some(OverflowPolicy::Backpressure),
            ..sh(&format!(
                "head -c 500000 /dev/zero >&{full} & i=0; while [ $i -lt 3000 ]; do echo 1234567 >&{other}; i=$((i+1)); done; echo last >&{other}; wait"
            ))
        };
        let id = spawn_persistent(&request)?;
        let mut cursor = oldest();
        let mut got = 0;
        until("the other stream", || {
            let chunk = read_since(&id, stream, &cursor, u32::MAX)?;
            if chunk.bytes_dropped > 0 {
                return Err(no_backpressure());
            }
            got += chunk.data.len();
            cursor = chunk.next;
            Ok((got == 24_005).then_some(()))
        })?;
        let info = status(&id)?;
        if info.bytes_dropped > 0 || info.phase != ProcessPhase::Running {
            return Err(no_backpressure());
        }
        stop(&id, Some(0))?;
    }
    Ok("24005 bytes past a full ring".into())
}

fn no_backpressure() -> Stop {
    Stop::NotApplicable("a full ring does not hold up its process here, which is another clause (L6)".into())
}
