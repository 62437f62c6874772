//! A token works for its process and its stream only; for another process, stream or principal it is `no-such-process`.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"call": "other", "as": "bob"}, "run"]}"#: other, run);

fn cursor(id: &str, stream: LogStream) -> Result<LogCursor, Stop> {
    Ok(read_since(id, stream, &oldest(), 4)?.next)
}

fn other() -> Outcome {
    let id = start("echo some output")?;
    exit_of(&id)?;
    Ok(cursor(&id, LogStream::Stdout)?.token.unwrap_or_default())
}

fn run(foreign: &str) -> Outcome {
    let script = "echo some output; echo some output >&2";
    let (first, second) = (start(script)?, start(script)?);
    exit_of(&first)?;
    exit_of(&second)?;
    let (out, err) = (cursor(&first, LogStream::Stdout)?, cursor(&first, LogStream::Stderr)?);
    let bad = [
        ("the other stream's", &first, LogStream::Stderr, &out),
        ("the other stream's", &first, LogStream::Stdout, &err),
        ("another process's", &second, LogStream::Stdout, &out),
        ("another principal's", &first, LogStream::Stdout, &at(foreign)),
    ];
    for (what, id, stream, cursor) in bad {
        refused(what, read_since(id, stream, cursor, 100), &ErrorCode::NoSuchProcess)?;
        refused(what, read_since(id, stream, cursor, 0), &ErrorCode::NoSuchProcess)?;
    }
    Ok("bound to process and stream".into())
}
