//! `stop` continues a child that was stopped by SIGSTOP, and the child receives TERM.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = start("trap 'exit 22' TERM; echo up; while :; do sleep 0.01; done")?;
    printed(&id, "up")?;
    signal(&id, ProcessSignal::Stop)?;
    let exit = stop(&id, Some(30_000))?;
    check!(exit == code(22), "{exit:?}");
    Ok("22".into())
}
