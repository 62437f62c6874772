//! `drained-eof` comes with the chunk that reaches the end of an ended stream of an exited child, and never before.
//!
//! Interface process@1.1.0: "`true` once the child has exited AND all retained output on this stream has been delivered
//! through this cursor"

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    // Its standard output ends long before the process.
    let id = start("printf 0123456789; exec >&-; echo > closed; read x < gate; printf err >&2; exit 0")?;
    until("the end of output", || Ok(holds("test -e closed")?.then_some(())))?;
    printed(&id, "9")?;
    let open = read_since(&id, LogStream::Stdout, &oldest(), 100)?;
    check!(open.data.len() == 10 && !open.drained_eof, "before the exit: {open:?}");
    output("echo > gate")?;
    exit_of(&id)?;
    let mut cursor = oldest();
    for at in 0..10 {
        let chunk = read_since(&id, LogStream::Stdout, &cursor, 1)?;
        check!(
            chunk.drained_eof == (at == 9),
            "byte {at}: drained-eof {}",
            chunk.drained_eof
        );
        cursor = chunk.next;
    }
    let beyond = read_since(&id, LogStream::Stdout, &cursor, 1)?;
    check!(
        beyond.drained_eof && beyond.data.is_empty(),
        "after the last: {beyond:?}"
    );
    rest(&id, LogStream::Stderr, oldest())?;
    let first = read_since(&id, LogStream::Stderr, &oldest(), 1)?;
    check!(!first.drained_eof, "eof before two bytes that are left");
    Ok("with the tenth byte".into())
}
