//! The processes of a principal are counted together over capsules, instances and tiers, and apart from those of other
//! principals.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"processes-per-principal": 2},
          "steps": ["one", {"call": "one", "capsule": "b"}, {"call": "full", "capsule": "c"}, {"call": "room", "as": "bob"}, "last"]}"#: one, full, room, last);

fn one(ids: &str) -> Outcome {
    Ok(format!("{ids}{}\n", start("sleep 1000")?))
}

fn full(ids: &str) -> Outcome {
    refused("spawn", spawn(&sh("echo >> ran")), &ErrorCode::Quota)?;
    refused(
        "spawn-persistent",
        spawn_persistent(&sh("echo >> ran")),
        &ErrorCode::Quota,
    )?;
    Ok(ids.into())
}

fn room(ids: &str) -> Outcome {
    check!(holds("test ! -e ran")?, "a refused command ran");
    Ok(ids.into())
}

fn last(ids: &str) -> Outcome {
    stop(lines(ids)[0], Some(0))?;
    check!(spawn(&sh("true")).is_ok(), "no room after a stop");
    Ok("two of one principal".into())
}
