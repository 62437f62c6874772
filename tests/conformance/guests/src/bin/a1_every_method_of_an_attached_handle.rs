//! Every method of an attached handle works, in the instance that started the process and in a later one.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": ["make", "use_it"]}"#: make, use_it);

fn make() -> Outcome {
    let request = SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("echo up; while read line; do echo got $line; done; printf err >&2; exit 13")
    };
    let id = spawn_persistent(&request)?;
    try_methods(&id)?;
    Ok(id)
}

fn try_methods(id: &str) -> Result<(), Stop> {
    let handle = attach(id)?;
    check!(handle.os_pid()? > 0, "no pid");
    check!(handle.write_stdin(b"line\n")? == 5, "the write was cut");
    let mut seen = String::new();
    until("the line", || {
        seen.push_str(&handle.read_logs()?.stdout);
        Ok(seen.contains("got line\n").then_some(()))
    })?;
    handle.signal(ProcessSignal::Cont)?;
    let exit = handle.subscribe_exit();
    check!(!exit.ready(), "an exit that has not been");
    drop(handle);
    check!(status(id)?.phase == ProcessPhase::Running, "dropping a handle ended it");
    Ok(())
}

fn use_it(id: &str) -> Outcome {
    try_methods(id)?;
    let handle = attach(id)?;
    handle.close_stdin()?;
    check!(handle.wait(Some(GIVE_UP))? == code(13), "another exit");
    let output = handle.wait_with_output(Some(GIVE_UP))?;
    check!(output.exit == code(13) && output.stderr == "err", "{output:?}");
    handle.signal(ProcessSignal::Term)?;
    let killed = handle.kill()?;
    check!(!killed.killed && killed.exit == Some(code(13)), "{killed:?}");
    drop(handle);
    check!(status(id)?.phase == ProcessPhase::Exited, "dropping a handle reaped it");
    Ok("in two instances".into())
}
