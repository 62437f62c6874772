//! An exit starts a fresh instance of a declared interceptor, even if no instance of the capsule exists.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"interceptors": {"astrid.process.v1.exited.*": "exited"}}, "steps": ["make", "look"]}"#: make, exited, look);

fn make() -> Outcome {
    let id = start("exit 17")?;
    watch(&id, Some("intercepted"))?;
    Ok(id)
}

/// The host calls this with the message, in the form for interceptors.
fn exited(payload: &str) -> Outcome {
    spawn(&SpawnRequest {
        stdin: Some(payload.as_bytes().to_vec()),
        ..sh("cat > told.new; echo >> told.new; cat told.new >> told; rm told.new")
    })?;
    Ok(String::new())
}

fn look(id: &str) -> Outcome {
    until("the interceptor", || Ok(holds("test -s told")?.then_some(())))?;
    let told = output("cat told")?;
    // The event may be a text within the message, whose quotes are escaped then.
    let plain: String = told.chars().filter(|c| !c.is_whitespace() && *c != '\\').collect();
    check!(
        told.contains(id) && plain.contains("\"exit_code\":17"),
        "it was told {told:?}"
    );
    check!(told.matches(id).count() <= 2, "it was told more than once: {told:?}");
    Ok("told of exit 17".into())
}
