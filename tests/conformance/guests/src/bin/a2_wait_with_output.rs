//! `wait-with-output` waits and drains both streams in one step; if it times out, nothing was consumed.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let script = "printf out; printf err >&2; echo > up; read x < gate; printf more; exit 15";
    let handle = spawn_background(&sh(script))?;
    until("the process", || Ok(holds("test -e up")?.then_some(())))?;
    for _ in 0..5 {
        refused(
            "no exit yet",
            handle.wait_with_output(Some(5)).map(drop),
            &ErrorCode::WaitTimeout,
        )?;
    }
    output("echo > gate")?;
    let all = handle.wait_with_output(Some(GIVE_UP))?;
    check!(
        all.stdout == "outmore" && all.stderr == "err" && all.exit == code(15),
        "{all:?}"
    );
    let again = handle.wait_with_output(Some(GIVE_UP))?;
    check!(
        again.stdout.is_empty() && again.exit == code(15),
        "the second: {again:?}"
    );
    let id = start("printf out; exit 16")?;
    let attached = attach(&id)?.wait_with_output(Some(GIVE_UP))?;
    check!(
        attached.stdout == "out" && attached.exit == code(16),
        "attached: {attached:?}"
    );
    check!(read_logs(&id)?.stdout.is_empty(), "it did not drain");
    Ok("once, complete".into())
}
