//! A slot is given back exactly once, however often and in whatever way a process is ended.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"processes-per-principal": 2},
          "steps": ["first", {"parallel": [["end"], ["end"], ["end"]]}, "last"]}"#: first, end, last);

fn first() -> Outcome {
    start("sleep 1000")
}

fn end(id: &str) -> Outcome {
    match stop(id, Some(0)) {
        Ok(_) | Err(ErrorCode::NoSuchProcess) => {}
        Err(other) => return fail(format!("stop: {other:?}")),
    }
    release_process(id)?;
    Ok(id.into())
}

fn last() -> Outcome {
    start("sleep 1000")?;
    start("sleep 1000")?;
    refused("a third of two", spawn_persistent(&sh("true")), &ErrorCode::Quota)?;
    Ok("ended six times, given back once".into())
}
