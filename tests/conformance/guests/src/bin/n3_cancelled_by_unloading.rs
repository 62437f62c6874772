//! Unloading the capsule ends a blocked write with `cancelled`.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"parallel": [[{"call": "block", "ends": "cancelled"}], [{"call": "see", "capsule": "b"}, {"do": "unload"}]]}]}"#: block, see);

fn block() -> Outcome {
    let id = spawn_persistent(&SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("sleep 1000")
    })?;
    announce("up");
    for _ in 0..4 {
        match write_stdin(&id, &vec![b'x'; 1 << 20]) {
            Ok(_) => {}
            Err(ErrorCode::Cancelled) => return Ok("cancelled".into()),
            Err(other) => return fail(format!("{other:?}")),
        }
    }
    fail("a child that does not read took 4 MiB")
}

fn see() -> Outcome {
    until("the child", || Ok(holds("test -e up")?.then_some(())))?;
    Ok("unloaded".into())
}
