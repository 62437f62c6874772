//! With a retention of 0 a waiter that is already waiting gets the exit, and the process is gone as soon as it is visible.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"parallel": [["wait_for"], ["end"]]}, "gone"]}"#: make, wait_for, end, gone);

fn make() -> Outcome {
    output("mkfifo gate")?;
    let id = spawn_persistent(&SpawnRequest { exit_retention_ms: Some(0), ..sh("read x < gate; exit 14") })?;
    Ok(id)
}

fn wait_for(id: &str) -> Outcome {
    // That it waits is seen by its being touched, over and over.
    output("echo > waiting")?;
    loop {
        match wait(id, 1000) {
            Ok(exit) => {
                check!(exit == code(14), "{exit:?}");
                refused("after its exit", status(id), &ErrorCode::NoSuchProcess)?;
                return Ok(id.into());
            }
            Err(ErrorCode::WaitTimeout) => {}
            Err(other) => return fail(format!("the waiter got {other:?}")),
        }
    }
}

fn end(id: &str) -> Outcome {
    until("the waiter", || Ok(holds("test -e waiting")?.then_some(())))?;
    // A wait is a call in flight, so once it is under way the idle time does not grow; before that it did.
    until("the wait", || {
        let before = status(id)?.idle_ms;
        pause(60);
        Ok((status(id)?.idle_ms < before + 50).then_some(()))
    })?;
    output("echo > gate")?;
    Ok(String::new())
}

fn gone(ids: &str) -> Outcome {
    refused("later", status(lines(ids)[0]), &ErrorCode::NoSuchProcess)?;
    check!(list_processes(None)?.is_empty(), "it is listed");
    Ok("exit 14, then unknown".into())
}
