//! A full ring of one stream holds up only that stream.

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
            got += chunk.data.len();
            cursor = chunk.next;
            Ok((got == 24_005).then_some(()))
        })?;
        check!(
            status(&id)?.phase == ProcessPhase::Running,
            "it ended with a stream that was not read"
        );
        stop(&id, Some(0))?;
    }
    Ok("24005 bytes past a full ring".into())
}
