//! After `kill` of an attached handle the id stays, as that of an exited process.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = start("trap '' TERM; printf out; echo > up; while :; do sleep 0.01; done")?;
    until("the process", || Ok(holds("test -e up")?.then_some(())))?;
    let handle = attach(&id)?;
    let result = handle.kill()?;
    check!(
        result.killed && result.exit == Some(by_signal(9)) && result.stdout == "out",
        "{result:?}"
    );
    drop(handle);
    let info = status(&id)?;
    check!(
        info.phase == ProcessPhase::Exited && info.exit == Some(by_signal(9)),
        "{info:?}"
    );
    release_process(&id)?;
    Ok("exited, and still known".into())
}
