//! A handle may be dropped before its pollables without a trap, and they become ready.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let handle = spawn_background(&sh("sleep 1000"))?;
    let (exit, logs) = (handle.subscribe_exit(), handle.subscribe_logs());
    check!(!exit.ready() && !logs.ready(), "ready before anything was");
    drop(handle);
    exit.block()?;
    logs.block()?;
    check!(exit.ready() && logs.ready(), "not ready after all");
    let id = start("exit 0")?;
    let attached = attach(&id)?;
    let (exit, logs) = (attached.subscribe_exit(), attached.subscribe_logs());
    drop(attached);
    exit.block()?;
    logs.block()?;
    let subscribed = start("sleep 1000")?;
    let handle = attach(&subscribed)?;
    let exit = handle.subscribe_exit();
    drop(handle);
    stop(&subscribed, Some(0))?;
    exit.block()?;
    Ok("dropped, and ready".into())
}
