//! `read-logs` holds an incomplete character back until its rest comes or the stream ends; other invalid bytes become
//! U+FFFD.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let id =
        start("printf 'a\\342\\202'; echo > up; read x < gate; printf '\\254b\\377c'; printf '\\360\\237'; exit 0")?;
    until("the first part", || Ok(holds("test -e up")?.then_some(())))?;
    // All earlier output is in the pipe, and may need a moment to arrive.
    let mut seen = String::new();
    until("the first part", || {
        seen.push_str(&read_logs(&id)?.stdout);
        Ok((!seen.is_empty()).then_some(()))
    })?;
    for _ in 0..5 {
        seen.push_str(&read_logs(&id)?.stdout);
    }
    check!(seen == "a", "a part of a character came: {seen:?}");
    output("echo > gate")?;
    exit_of(&id)?;
    let rest = read_logs(&id)?.stdout;
    check!(rest == "\u{20ac}b\u{fffd}c\u{fffd}", "the rest: {rest:?}");
    Ok("held back, and replaced at the end".into())
}
