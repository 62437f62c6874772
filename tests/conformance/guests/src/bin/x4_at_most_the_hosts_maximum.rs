//! A `wait` above the host's maximum is treated as the maximum.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"wait-max-ms": 200}}"#: run);

fn run() -> Outcome {
    let id = start("sleep 1000")?;
    for ms in [201, 3_600_000, u64::MAX] {
        let started = sys::clock_monotonic_ns();
        refused("the maximum elapsed", wait(&id, ms), &ErrorCode::WaitTimeout)?;
        check!(ms_since(started) >= 200, "it ended before the maximum");
    }
    Ok("three times 200 ms".into())
}
