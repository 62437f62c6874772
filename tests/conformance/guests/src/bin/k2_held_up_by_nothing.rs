//! A full ring, a blocked writer or a wait does not delay `stop`; the writer and the wait end, and the wait gets the
//! exit.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"parallel": [["write"], ["wait_for"], ["end"]]}]}"#: make, write, wait_for, end);

fn make() -> Outcome {
    let request = SpawnRequest {
        keep_stdin_open: Some(true),
        overflow: Some(OverflowPolicy::Backpressure),
        log_ring_bytes: Some(4096),
        ..sh("trap '' TERM; head -c 1000000 /dev/zero; echo > through; while :; do sleep 0.01; done")
    };
    Ok(spawn_persistent(&request)?)
}

fn write(id: &str) -> Outcome {
    for _ in 0..4 {
        match write_stdin(id, &vec![b'x'; 1 << 20]) {
            Ok(_) => {}
            Err(ErrorCode::Closed | ErrorCode::NoSuchProcess) => return Ok("closed".into()),
            Err(other) => return fail(format!("write-stdin: {other:?}")),
        }
    }
    fail("a child that does not read took 4 MiB")
}

fn wait_for(id: &str) -> Outcome {
    output("echo > waiting")?;
    match wait(id, GIVE_UP) {
        Ok(exit) => check!(exit == by_signal(9), "wait: {exit:?}"),
        // It came too late to wait.
        Err(ErrorCode::NoSuchProcess) => {}
        Err(other) => return fail(format!("wait: {other:?}")),
    }
    Ok("waited".into())
}

fn end(id: &str) -> Outcome {
    // Not all of its output has room, so it is held up from its first bytes to its end.
    until("output", || Ok((status(id)?.buffered_bytes > 0).then_some(())))?;
    until("the waiter", || Ok(holds("test -e waiting")?.then_some(())))?;
    let exit = stop(id, Some(100))?;
    check!(exit == by_signal(9), "stop: {exit:?}");
    check!(!holds("test -e through")?, "its ring was not full");
    Ok("stopped".into())
}
