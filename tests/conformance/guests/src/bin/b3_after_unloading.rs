//! Unloading a capsule ends its processes, under every principal, and no other capsule's.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"call": "one"}, {"call": "two", "as": "bob"}, {"call": "three", "capsule": "b"}, {"locked": "one"}, {"locked": "two"},
                    {"do": "unload"}, {"unlocked": "one"}, {"unlocked": "two"}, {"locked": "three"}, {"call": "last", "capsule": "b"}]}"#: one, two, three, last);

fn leave(lock: &str, ids: &str) -> Outcome {
    let id = start(&format!(
        "trap '' TERM; {}; echo up; while :; do sleep 0.01; done",
        daemon(lock)
    ))?;
    printed(&id, "up")?;
    Ok(format!("{ids}{id}\n"))
}

fn one(ids: &str) -> Outcome {
    leave("one", ids)
}

fn two(ids: &str) -> Outcome {
    leave("two", ids)
}

fn three(ids: &str) -> Outcome {
    leave("three", ids)
}

fn last(ids: &str) -> Outcome {
    check!(
        status(lines(ids)[2])?.phase == ProcessPhase::Running,
        "another capsule's process was ended"
    );
    Ok("two gone, one there".into())
}
