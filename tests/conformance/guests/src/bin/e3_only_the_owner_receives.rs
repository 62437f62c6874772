//! Only the creating principal and capsule receive the events of a process.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"steps": [{"parallel": [["own"], [{"call": "foreign", "as": "bob"}], [{"call": "foreign", "capsule": "b"}]]}]}"#: own, foreign);

fn own() -> Outcome {
    let mut events = Events::subscribe()?;
    until("the others", || {
        Ok(holds("test $(cat ready 2>/dev/null | wc -l) -ge 2")?.then_some(()))
    })?;
    let id = start("echo out; exit 0")?;
    watch(&id, Some("private"))?;
    exit_of(&id)?;
    events.until("exited", 1)?;
    output("echo > published")?;
    Ok("received".into())
}

fn foreign() -> Outcome {
    let mut broad = match ipc::subscribe("astrid.process.v1.*") {
        // A refusal is also a correct answer.
        Err(ipc::ErrorCode::CapabilityDenied) => None,
        Err(other) => return fail(format!("{other:?}")),
        Ok(_) => Some(Events::subscribe()?),
    };
    output("echo >> ready")?;
    until("the event", || Ok(holds("test -e published")?.then_some(())))?;
    if let Some(events) = &mut broad {
        let seen = events.settled()?;
        check!(seen.is_empty(), "another's events: {seen:?}");
    }
    Ok("nothing".into())
}
