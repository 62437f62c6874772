//! `spawn-background` counts against the same quota as the other two.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"processes-per-principal": 2}}"#: run);

fn run() -> Outcome {
    let first = spawn_background(&sh("sleep 1000"))?;
    let second = start("sleep 1000")?;
    refused("spawn-background", spawn_background(&sh("true")), &ErrorCode::Quota)?;
    refused("spawn", spawn(&sh("true")), &ErrorCode::Quota)?;
    refused("spawn-persistent", spawn_persistent(&sh("true")), &ErrorCode::Quota)?;
    stop(&second, Some(0))?;
    let third = spawn_background(&sh("exit 0"))?;
    third.wait(None)?;
    check!(
        spawn(&sh("true")).is_ok(),
        "an exited one whose handle is held still counts"
    );
    drop(first);
    Ok("two of all tiers".into())
}
