//! A handle's `kill` ends the tree and returns the exit with all output; a second one reports that the process did not
//! run.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let handle = spawn_background(&sh(&format!(
        "trap '' TERM; {}; printf out; printf err >&2; echo > up; while :; do sleep 0.01; done",
        daemon("lock")
    )))?;
    until("the process", || Ok(holds("test -e up")?.then_some(())))?;
    let result = handle.kill()?;
    check!(result.killed && result.exit == Some(by_signal(9)), "{result:?}");
    check!(
        result.stdout == "out" && result.stderr == "err",
        "its output: {result:?}"
    );
    check!(!held("lock")?, "a daemon of it still runs");
    let again = handle.kill()?;
    check!(
        !again.killed && again.exit == Some(by_signal(9)) && again.stdout.is_empty(),
        "the second: {again:?}"
    );
    let own = spawn_background(&sh("exit 4"))?;
    own.wait(None)?;
    let exited = own.kill()?;
    check!(
        !exited.killed && exited.exit == Some(code(4)),
        "of one that exited: {exited:?}"
    );
    Ok("killed once".into())
}
