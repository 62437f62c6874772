//! A subscriber that does not read delays no other: its queue is bounded, and messages that do not fit are counted.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"publish": ["case.e4.*", "case.e4.flood"], "subscribe": ["case.e4.*", "case.e4.flood"]}}"#: run);

fn run() -> Outcome {
    // 64 MiB in all: a host that limits the rate accepts some hundred of these, which are more than a queue holds.
    const SENT: u64 = 4000;
    let padding = " ".repeat(16 << 10);
    let slow = ipc::subscribe("case.e4.flood")?;
    let mut accepted = 0;
    for n in 0..SENT {
        match ipc::publish("case.e4.flood", &format!("{n}{padding}")) {
            Ok(()) => accepted += 1,
            Err(ipc::ErrorCode::RateLimited | ipc::ErrorCode::Backpressure) => {}
            Err(other) => return fail(format!("{other:?}")),
        }
    }
    let (mut came, mut lost, mut last) = (0, 0, None);
    loop {
        let envelope = slow.poll()?;
        lost += envelope.dropped;
        if envelope.messages.is_empty() {
            break;
        }
        for message in envelope.messages {
            let number: u64 = message.payload.trim_end().parse().unwrap_or(u64::MAX);
            check!(last.is_none_or(|last| number > last), "{number} came after {last:?}");
            last = Some(number);
            came += 1;
        }
    }
    check!(came < SENT, "a queue without bound");
    check!(
        came + lost == accepted,
        "of {accepted} accepted {came} came and {lost} were counted as dropped"
    );
    let again = slow.poll()?;
    check!(
        again.dropped == 0 && again.messages.is_empty(),
        "counted twice: {} more, {} dropped",
        again.messages.len(),
        again.dropped
    );
    if lost == 0 {
        return Err(Stop::NotApplicable(format!(
            "all of the {accepted} messages that the host accepted had room"
        )));
    }
    Ok(format!("{came} came, {lost} counted as lost, of {accepted}"))
}
