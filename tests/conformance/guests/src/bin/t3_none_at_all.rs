//! With a retention of 0 a waiter that is already waiting gets the exit, and the process is gone as soon as it is visible.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"parallel": [["wait_for"], ["end"]]}]}"#: make, wait_for, end);

const ROUNDS: usize = 6;

fn make() -> Outcome {
    let mut ids = String::new();
    for round in 0..ROUNDS {
        output(&format!("mkfifo gate{round}"))?;
        let id = spawn_persistent(&SpawnRequest {
            exit_retention_ms: Some(0),
            ..sh(&format!("read x < gate{round}; exit 14"))
        })?;
        ids.push_str(&id);
        ids.push('\n');
    }
    Ok(ids)
}

fn wait_for(ids: &str) -> Outcome {
    let mut got = 0;
    for (round, id) in lines(ids).into_iter().enumerate() {
        output(&format!("echo > waiting{round}"))?;
        match wait(id, GIVE_UP) {
            Ok(exit) => {
                check!(exit == code(14), "{exit:?}");
                got += 1;
            }
            // It came after the exit, because the other branch may cause the exit before this one has begun.
            Err(ErrorCode::NoSuchProcess) => {}
            Err(other) => return fail(format!("the waiter got {other:?}")),
        }
        refused("after its exit", status(id), &ErrorCode::NoSuchProcess)?;
    }
    check!(got > 0, "no waiter got the exit");
    check!(list_processes(None)?.is_empty(), "some are still listed");
    Ok(format!(
        "{got} of {ROUNDS} waiters were there in time, and got the exit"
    ))
}

fn end() -> Outcome {
    for round in 0..ROUNDS {
        until("the waiter", || {
            Ok(holds(&format!("test -e waiting{round}"))?.then_some(()))
        })?;
        output(&format!("echo > gate{round}"))?;
    }
    Ok(String::new())
}
