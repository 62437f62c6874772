//! A process that a call waits for is not idle, however long; afterwards it is.

use conformance_guest::*;

case!(r#"{"settings": {"grace-default-ms": 100}}"#: run);

fn run() -> Outcome {
    let id = spawn_persistent(&SpawnRequest { idle_timeout_ms: Some(300), ..sh("sleep 1000") });
    let id = id?;
    for _ in 0..2 {
        let waited = wait(&id, 1200);
        // The first wait may have come too late, on a machine that stood still for 300 ms.
        check!(waited == Err(ErrorCode::WaitTimeout), "in the middle of a wait: {waited:?}");
    }
    until("its end", || Ok((status(&id) == Err(ErrorCode::NoSuchProcess)).then_some(())))?;
    Ok("1.2 s twice, with 300 ms of idle time".into())
}
