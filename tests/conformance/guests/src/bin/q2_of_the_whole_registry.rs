//! Ids are limited for the whole registry too.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"retained-total": 2}, "steps": ["one", {"call": "one", "as": "bob"}, {"call": "full", "as": "carol", "capsule": "b"}, "free", {"call": "one", "as": "carol"}]}"#: one, full, free);

fn one(ids: &str) -> Outcome {
    let id = start("exit 0")?;
    exit_of(&id)?;
    Ok(format!("{ids}{id}\n"))
}

fn full(ids: &str) -> Outcome {
    refused("a third", spawn_persistent(&sh("true")), &ErrorCode::RegistryFull)?;
    Ok(ids.into())
}

fn free(ids: &str) -> Outcome {
    release_process(lines(ids)[0])?;
    Ok(String::new())
}
