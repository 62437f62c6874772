//! Unloading the capsule during a `spawn` ends the child, and the call is `cancelled`.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"parallel": [[{"call": "block", "ends": "cancelled"}],
                                  [{"call": "see", "capsule": "b"}, {"do": "unload"}, {"unlocked": "lock"}]]}, {"call": "last", "capsule": "b"}]}"#: block, see, last);

fn block() -> Outcome {
    let script = format!("{}; sleep 1000", daemon("lock"));
    refused("unloaded", spawn(&sh(&script)), &ErrorCode::Cancelled)?;
    Ok("cancelled".into())
}

fn see() -> Outcome {
    until("the lock", || Ok(holds("test -e lock")?.then_some(())))?;
    until_held("lock")?;
    Ok(String::new())
}

fn last(seen: &str) -> Outcome {
    Ok(format!("{} and nothing is left", seen.trim()))
}
