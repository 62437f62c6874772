//! `stop` of a process that exited by itself returns its own exit, and the id is gone.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = start("exit 33")?;
    exit_of(&id)?;
    let exit = stop(&id, None)?;
    check!(exit == code(33), "{exit:?}");
    refused("afterwards", status(&id), &ErrorCode::NoSuchProcess)?;
    Ok("33".into())
}
