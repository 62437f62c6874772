//! `stop` sends TERM, waits for the requested time, then kills the whole tree; it returns the true exit and the id is
//! gone.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let polite = start("trap 'exit 21' TERM; echo up; while :; do sleep 0.01; done")?;
    printed(&polite, "up")?;
    let exit = stop(&polite, Some(30_000))?;
    check!(exit == code(21), "one that heeds TERM: {exit:?}");
    let deaf = start(&format!(
        "trap '' TERM; {}; echo up; while :; do sleep 0.01; done",
        daemon("lock")
    ))?;
    printed(&deaf, "up")?;
    let started = sys::clock_monotonic_ns();
    let exit = stop(&deaf, Some(200))?;
    check!(exit == by_signal(9), "one that does not: {exit:?}");
    check!(ms_since(started) >= 200, "it was killed before its grace was over");
    check!(!held("lock")?, "a daemon of it still runs");
    let plain = start("sleep 1000")?;
    let exit = stop(&plain, None)?;
    check!(exit == by_signal(15), "one that says nothing: {exit:?}");
    for id in [polite, deaf, plain] {
        refused("a second stop", stop(&id, None), &ErrorCode::NoSuchProcess)?;
    }
    check!(list_processes(None)?.is_empty(), "stopped ones are listed");
    Ok("21, 9 and 15".into())
}
