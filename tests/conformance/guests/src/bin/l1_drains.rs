//! `read-logs` returns what is buffered and consumes it.
//!
//! Interface process@1.1.0: "Drains the buffers (subsequent reads return only new data)."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let id = start("printf one; printf err >&2; read x < gate; printf two; exit 2")?;
    let first = until("the output", || {
        let info = status(&id)?;
        Ok((info.buffered_bytes == 6).then_some(()))
    });
    first?;
    let logs = read_logs(&id)?;
    check!(
        logs.stdout == "one" && logs.stderr == "err" && logs.running && logs.exit.is_none(),
        "first: {logs:?}"
    );
    let again = read_logs(&id)?;
    check!(
        again.stdout.is_empty() && again.stderr.is_empty(),
        "it was not consumed: {again:?}"
    );
    output("echo > gate")?;
    exit_of(&id)?;
    // Its end may come after the exit is seen.
    rest(&id, LogStream::Stdout, oldest())?;
    let last = read_logs(&id)?;
    check!(
        last.stdout == "two" && last.stderr.is_empty() && !last.running && last.exit == Some(code(2)),
        "last: {last:?}"
    );
    let empty = read_logs(&id)?;
    check!(
        empty.stdout.is_empty() && empty.exit == Some(code(2)),
        "after the last: {empty:?}"
    );
    Ok("each byte once".into())
}
