//! A handle's `os-pid` is the command's pid while it runs, and `closed` after its exit.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let id = start("read x < gate")?;
    let attached = attach(&id)?;
    check!(
        status(&id)?.os_pid == Some(attached.os_pid()?),
        "the handle says another"
    );
    let handle = spawn_background(&sh("sleep 1000"))?;
    check!(handle.os_pid()? > 1, "no pid");
    handle.kill()?;
    refused("after the kill", handle.os_pid(), &ErrorCode::Closed)?;
    output("echo > gate")?;
    exit_of(&id)?;
    refused("after the exit", attached.os_pid(), &ErrorCode::Closed)?;
    Ok("its own, then closed".into())
}
