//! `wait(0)` is a poll, a wait never ends early, any number of them reap nothing, and all see the same exit.
//!
//! Interface process@1.1.0: "Does NOT release on exit. `wait-timeout` on elapse."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let id = start("read x < gate; exit 11")?;
    for _ in 0..20 {
        refused("wait(0)", wait(&id, 0), &ErrorCode::WaitTimeout)?;
    }
    let started = sys::clock_monotonic_ns();
    refused("wait(150)", wait(&id, 150), &ErrorCode::WaitTimeout)?;
    let waited = ms_since(started);
    check!(waited >= 150, "wait(150) ended after {waited} ms");
    output("echo > gate")?;
    check!(exit_of(&id)? == code(11), "another exit");
    for _ in 0..20 {
        check!(
            wait(&id, 0)? == code(11) && wait(&id, GIVE_UP)? == code(11),
            "a later wait says something else"
        );
    }
    check!(status(&id)?.phase == ProcessPhase::Exited, "waiting reaped it");
    Ok("polled, elapsed, ended".into())
}
