//! There is one `log-ready` for each change from empty to not empty since a read last reached the end.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    output("mkfifo gate")?;
    let mut events = Events::subscribe()?;
    let id = start(
        "exec 3<>gate; while read x <&3; do i=0; while [ $i -lt 50 ]; do echo line $x; i=$((i+1)); done; echo end; done",
    )?;
    watch(&id, Some("logs"))?;
    let ready = |events: &mut Events| -> Result<usize, Stop> {
        let all = events.settled()?;
        Ok(all
            .iter()
            .filter(|event| event.kind == "log-ready" && event.suffix == "logs")
            .count())
    };
    check!(ready(&mut events)? == 0, "an event before any output");
    let ended = |id: &str, rounds: usize| {
        until("the lines", || {
            let all = read_since(id, LogStream::Stdout, &oldest(), u32::MAX)?.data;
            Ok((String::from_utf8_lossy(&all).matches("end").count() == rounds).then_some(()))
        })
    };
    output("echo a > gate")?;
    // Without a read, which would cause further edges.
    until("the lines", || Ok((status(&id)?.buffered_bytes == 354).then_some(())))?;
    events.until("log-ready", 1)?;
    let once = ready(&mut events)?;
    check!(once == 1, "{once} events for 51 lines that were not read");
    output("echo b > gate")?;
    until("the lines", || Ok((status(&id)?.buffered_bytes == 708).then_some(())))?;
    let still = ready(&mut events)?;
    check!(still == 1, "{still} events although nothing was read");
    ended(&id, 2)?;
    output("echo c > gate")?;
    events.until("log-ready", 2)?;
    check!(!read_logs(&id)?.stdout.is_empty(), "nothing was there");
    Ok("one an edge".into())
}
