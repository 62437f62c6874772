//! `os-pid` is the command's own pid in the host's pid namespace while it runs, and there is none after its exit.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"runs": ["sh", "-c", "echo up; read x < gate; exit 0", "conformance-marker-x7"]}, "end"]}"#: make, end);

fn make() -> Outcome {
    output("mkfifo gate")?;
    let id = spawn_persistent(&command(
        "sh",
        &["-c", "echo up; read x < gate; exit 0", "conformance-marker-x7"],
    ))?;
    printed(&id, "up")?;
    let info = status(&id)?;
    let Some(pid) = info.os_pid else {
        return fail("there is no os-pid while it runs");
    };
    Ok(format!("{pid} {id}"))
}

fn end(payload: &str) -> Outcome {
    let id = payload.split_once(' ').unwrap_or_default().1;
    stop_softly(id)?;
    let after = status(id)?.os_pid;
    check!(after.is_none(), "after its exit os-pid is {after:?}");
    Ok("the command's".into())
}

fn stop_softly(id: &str) -> Result<(), Stop> {
    signal(id, ProcessSignal::Term)?;
    exit_of(id)?;
    Ok(())
}
