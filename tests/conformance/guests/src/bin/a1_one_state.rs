//! The free functions and a handle's methods act on one state: what one drains, closes or ends, the other sees as
//! drained, closed or ended.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = spawn_persistent(&SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("printf 12345; cat > /dev/null; sleep 1000")
    })?;
    let (one, two) = (attach(&id)?, attach(&id)?);
    printed(&id, "12345")?;
    check!(one.read_logs()?.stdout == "12345", "the handle reads something else");
    check!(
        two.read_logs()?.stdout.is_empty() && read_logs(&id)?.stdout.is_empty(),
        "drained by one, and still there for another"
    );
    one.close_stdin()?;
    refused("write-stdin", write_stdin(&id, b"x"), &ErrorCode::Closed)?;
    refused("the other handle", two.write_stdin(b"x"), &ErrorCode::Closed)?;
    let exit = stop(&id, Some(0))?;
    check!(exit.signal.is_some(), "{exit:?}");
    refused("after the stop", two.wait(Some(0)), &ErrorCode::Closed)?;
    Ok("one state".into())
}
