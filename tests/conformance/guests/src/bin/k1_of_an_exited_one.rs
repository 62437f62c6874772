//! Signalling an exited, unreleased process succeeds and does nothing.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = start("exit 9")?;
    exit_of(&id)?;
    for sent in [
        ProcessSignal::Term,
        ProcessSignal::Hup,
        ProcessSignal::Usr1,
        ProcessSignal::Usr2,
        ProcessSignal::Int,
        ProcessSignal::Stop,
        ProcessSignal::Cont,
    ] {
        signal(&id, sent)?;
    }
    check!(status(&id)?.exit == Some(code(9)), "the exit changed");
    Ok("seven signals to no process".into())
}
