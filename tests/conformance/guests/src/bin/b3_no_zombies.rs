//! An ended process leaves no zombie: its former pid is not a child of the host.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"steps": ["make", {"no-zombies": null}]}"#: make);

fn make() -> Outcome {
    output("mkfifo gate")?;
    let mut pids = String::new();
    for n in 0..6 {
        let id = start("echo up; read x < gate; exit 0")?;
        printed(&id, "up")?;
        if let Some(pid) = status(&id)?.os_pid {
            pids.push_str(&format!("{pid}\n"));
        }
        if n % 2 == 0 {
            stop(&id, Some(0))?;
        } else {
            signal(&id, ProcessSignal::Int)?;
            exit_of(&id)?;
        }
    }
    check!(pids.lines().count() == 6, "there are no pids");
    Ok(pids)
}
