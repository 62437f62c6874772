//! Many concurrent timers each fire for their own process, none early, in whatever order they were set.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"wishes": {"processes-per-principal": 32, "grace-default-ms": 100}}"#: run);

fn run() -> Outcome {
    let mut ends = Vec::new();
    for n in 0..24u64 {
        let lifetime = 300 + (n * 7 % 24) * 40;
        let started = sys::clock_monotonic_ns();
        let id = spawn_persistent(&SpawnRequest {
            max_lifetime_ms: Some(lifetime),
            ..sh("sleep 1000")
        })?;
        ends.push((id, started, lifetime));
    }
    let mut latest = 0;
    until("all ends", || {
        ends.retain(|(id, started, lifetime)| {
            if status(id).is_ok_and(|info| info.phase != ProcessPhase::Exited) {
                return true;
            }
            let lived = ms_since(*started);
            latest = latest.max(lived.saturating_sub(*lifetime));
            if lived < *lifetime {
                latest = u64::MAX;
            }
            false
        });
        Ok((ends.is_empty() || latest == u64::MAX).then_some(()))
    })?;
    check!(latest != u64::MAX, "one ended before its time");
    Ok(format!(
        "24 timers, none early, the last one seen {latest} ms after its time"
    ))
}
