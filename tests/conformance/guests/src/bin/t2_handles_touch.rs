//! `attach` and the methods of its handle touch a process.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = spawn_persistent(&SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("sleep 1000")
    })?;
    let handle = attach(&id)?;
    type Touch = fn(&str, &ProcessHandle) -> Result<(), Stop>;
    let touches: [(&str, Touch); 6] = [
        ("attach", |id, _| Ok(attach(id).map(drop)?)),
        ("read-logs", |_, handle| Ok(handle.read_logs().map(drop)?)),
        ("wait", |_, handle| {
            refused("wait", handle.wait(Some(0)), &ErrorCode::WaitTimeout)
        }),
        ("signal", |_, handle| Ok(handle.signal(ProcessSignal::Cont)?)),
        ("write-stdin", |_, handle| Ok(handle.write_stdin(b"x").map(drop)?)),
        ("close-stdin", |_, handle| Ok(handle.close_stdin()?)),
    ];
    for (name, touch) in touches {
        until("some idle time", || {
            Ok(Some(status(&id)?.idle_ms).filter(|ms| *ms >= 30))
        })?;
        let just_before = sys::clock_monotonic_ns();
        touch(&id, &handle)?;
        let idle = status(&id)?.idle_ms;
        let since = ms_since(just_before) + 1;
        check!(
            idle <= since,
            "{name} did not touch it: idle for {idle} ms, called {since} ms ago"
        );
    }
    Ok("six touch".into())
}
