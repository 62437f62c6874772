//! A `wait` ends with `cancelled` when the capsule is unloaded, and so does every later blocking call.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"parallel": [[{"call": "block", "ends": "cancelled"}], [{"call": "see", "capsule": "b"}, {"do": "unload"}]]}]}"#: block, see);

fn block() -> Outcome {
    let id = start("sleep 1000")?;
    announce("up");
    refused("the wait", wait(&id, GIVE_UP), &ErrorCode::Cancelled)?;
    refused("a later wait", wait(&id, GIVE_UP), &ErrorCode::Cancelled)?;
    let slept = sys::sleep_ns(GIVE_UP * 1_000_000);
    check!(slept == Err(sys::ErrorCode::Cancelled), "a later sleep: {slept:?}");
    Ok("cancelled".into())
}

fn see() -> Outcome {
    until("the wait", || Ok(holds("test -e up")?.then_some(())))?;
    Ok("wait, wait, sleep".into())
}
