//! A subscriber that does not read delays no other: its queue is bounded, and messages that do not fit are counted.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"publish": ["case.e4.*", "case.e4.flood"], "subscribe": ["case.e4.*", "case.e4.flood"]}}"#: run);

fn run() -> Outcome {
    const SENT: u64 = 20_000;
    let slow = ipc::subscribe("case.e4.flood")?;
    let mut accepted = 0;
    for n in 0..SENT {
        match ipc::publish("case.e4.flood", &n.to_string()) {
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
            let number: u64 = message.payload.parse().unwrap_or(u64::MAX);
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
        "counted twice: {again:?}"
    );
    Ok(format!("{came} came, {lost} counted as lost, of {accepted}"))
}
