//! By default the rings of a principal take at most 64 MiB.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let rings = SpawnRequest {
        log_ring_bytes: Some(8 << 20),
        ..sh("exit 0")
    };
    let mut made = 0;
    while made < 20 {
        match spawn_persistent(&rings) {
            Ok(id) => drop(exit_of(&id)?),
            Err(ErrorCode::Quota) => break,
            Err(other) => return fail(format!("{other:?}")),
        }
        made += 1;
    }
    check!((4..=8).contains(&made), "{made} processes with rings of 8 MiB");
    Ok(format!("{made} processes with rings of 8 MiB"))
}
