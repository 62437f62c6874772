//! A write to a child that does not read blocks until the child ends; it is then `closed`, as is every later one.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"parallel": [["block"], ["end"]]}]}"#: make, block, end);

fn make() -> Outcome {
    let id = spawn_persistent(&SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("echo up; sleep 1000")
    })?;
    check!(status(&id)?.stdin_open, "its stdin is not open");
    // A pipe takes this, though it is not read: that no more is taken has another reason than a closed stdin.
    check!(write_stdin(&id, b"x")? == 1, "its stdin took nothing");
    Ok(id)
}

fn block(id: &str) -> Outcome {
    // No pipe holds 4 MiB.
    let mut accepted = 0;
    for _ in 0..4 {
        match write_stdin(id, &vec![b'x'; 1 << 20]) {
            Ok(count) => accepted += count,
            Err(error) => {
                check!(error == ErrorCode::Closed, "{error:?}");
                refused("a later write", write_stdin(id, b"x"), &ErrorCode::Closed)?;
                return Ok("closed".into());
            }
        }
    }
    fail(format!("a child that does not read took {accepted} bytes"))
}

fn end(id: &str) -> Outcome {
    printed(id, "up")?;
    signal(id, ProcessSignal::Term)?;
    let exit = exit_of(id)?;
    check!(exit == by_signal(15), "{exit:?}");
    Ok("by signal 15".into())
}
