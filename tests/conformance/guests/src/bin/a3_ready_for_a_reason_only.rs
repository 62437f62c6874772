//! `subscribe-exit` is ready from the exit on; `subscribe-logs` is ready while there is unread output, or after the
//! exit. Neither is ever ready without cause.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let id = start(
        "exec 3<>gate; read x <&3; printf one; read x <&3; printf '\\303'; echo > half; read x <&3; printf '\\251'; read x <&3; exit 0",
    )?;
    let handle = attach(&id)?;
    let (exit, logs) = (handle.subscribe_exit(), handle.subscribe_logs());
    let never = |when: &str| -> Result<(), Stop> {
        for _ in 0..20 {
            check!(!exit.ready(), "{when}: the exit is ready");
            check!(!logs.ready(), "{when}: the logs are ready");
        }
        Ok(())
    };
    never("before any output")?;
    output("echo > gate")?;
    logs.block()?;
    check!(logs.ready() && logs.ready() && !exit.ready(), "with output");
    // A read that does not reach the end leaves unread output.
    until("three bytes", || Ok((status(&id)?.buffered_bytes == 3).then_some(())))?;
    let part = read_since(&id, LogStream::Stdout, &oldest(), 2)?;
    check!(logs.ready(), "one byte is left unread");
    read_since(&id, LogStream::Stdout, &part.next, 100)?;
    never("after a read to the end")?;
    check!(read_logs(&id)?.stdout == "one", "the cursor drained");
    never("after the drain")?;
    output("echo > gate")?;
    until("half a character", || Ok(holds("test -e half")?.then_some(())))?;
    check!(read_logs(&id)?.stdout.is_empty(), "half a character was handed over");
    never("with half a character held back")?;
    output("echo > gate")?;
    logs.block()?;
    check!(read_logs(&id)?.stdout == "\u{e9}", "the character");
    never("after the character")?;
    output("echo > gate")?;
    exit.block()?;
    for _ in 0..20 {
        check!(exit.ready() && logs.ready(), "after the exit");
    }
    Ok("ready for a reason only".into())
}
