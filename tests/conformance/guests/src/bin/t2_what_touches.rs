//! Reads, writes, waits, signals and closes touch a process, and `status`, `status-many` and `list-processes` do not.
//!
//! Contract.
//!
//! `idle-ms` shows it: after a touch it is at most the time since just before the touch; after a call that does not
//! touch, it is at least its earlier value.

use conformance_guest::*;

case!(run);

type Call = fn(&str) -> Result<(), Stop>;

fn run() -> Outcome {
    let id = spawn_persistent(&SpawnRequest {
        keep_stdin_open: Some(true),
        ..sh("sleep 1000")
    })?;
    let looks: [(&str, Call); 3] = [
        ("status", |id| Ok(status(id).map(drop)?)),
        ("status-many", |id| Ok(status_many(&[id.to_owned()]).map(drop)?)),
        ("list-processes", |_| Ok(list_processes(None).map(drop)?)),
    ];
    let touches: [(&str, Call); 7] = [
        ("read-logs", |id| Ok(read_logs(id).map(drop)?)),
        ("read-since", |id| {
            Ok(read_since(id, LogStream::Stdout, &oldest(), 1).map(drop)?)
        }),
        ("wait", |id| refused("wait", wait(id, 0), &ErrorCode::WaitTimeout)),
        ("signal", |id| Ok(signal(id, ProcessSignal::Cont)?)),
        ("write-stdin", |id| Ok(write_stdin(id, b"x").map(drop)?)),
        ("write-stdin nothing", |id| Ok(write_stdin(id, b"").map(drop)?)),
        ("close-stdin", |id| Ok(close_stdin(id)?)),
    ];
    for (name, look) in looks {
        let before = until("some idle time", || {
            Ok(Some(status(&id)?.idle_ms).filter(|ms| *ms >= 30))
        })?;
        look(&id)?;
        let after = status(&id)?.idle_ms;
        check!(after >= before, "{name} touched it: {before} ms became {after}");
    }
    for (name, touch) in touches {
        until("some idle time", || {
            Ok(Some(status(&id)?.idle_ms).filter(|ms| *ms >= 30))
        })?;
        let just_before = sys::clock_monotonic_ns();
        touch(&id)?;
        let idle = status(&id)?.idle_ms;
        let since = ms_since(just_before) + 1;
        check!(
            idle <= since,
            "{name} did not touch it: idle for {idle} ms, called {since} ms ago"
        );
    }
    Ok("seven touch, three do not".into())
}
