//! `read-since` never drains: the same cursor reads the same bytes again, and `read-logs` gets them too.
//!
//! Interface process@1.1.0: "NON-DRAINING, cursor-addressed, resumable read from a persistent process's stream.";
//! process@1.1.0: "Cursor to pass to the NEXT `read-since` to resume exactly here."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let id = start("printf 0123456789; printf abc >&2")?;
    exit_of(&id)?;
    until("its output", || Ok((status(&id)?.buffered_bytes == 13).then_some(())))?;
    let first = read_since(&id, LogStream::Stdout, &oldest(), 4)?;
    check!(
        first.data == b"0123" && !first.drained_eof && first.bytes_dropped == 0,
        "first: {first:?}"
    );
    for _ in 0..3 {
        let again = read_since(&id, LogStream::Stdout, &oldest(), 4)?;
        check!(again.data == first.data, "the same read says something else: {again:?}");
        let next = read_since(&id, LogStream::Stdout, &first.next, 100)?;
        check!(next.data == b"456789" && next.drained_eof, "the next: {next:?}");
        let at_end = read_since(&id, LogStream::Stdout, &next.next, 100)?;
        check!(at_end.data.is_empty() && at_end.drained_eof, "at the end: {at_end:?}");
    }
    let logs = read_logs(&id)?;
    check!(
        logs.stdout == "0123456789" && logs.stderr == "abc",
        "read-logs: {logs:?}"
    );
    Ok("read five times, and still there".into())
}
