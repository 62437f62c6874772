//! An exit starts a fresh instance of a declared interceptor, even if no instance of the capsule exists.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"interceptors": {"astrid.process.v1.exited.*": "exited"}}, "steps": ["make", "look"]}"#: make, exited, look);

fn make() -> Outcome {
    output("mkfifo gate")?;
    // Held open, so that the gate stays when this instance ends.
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
    check!(told.contains(id) && told.contains("17"), "it was told {told:?}");
    check!(told.matches(id).count() <= 2, "it was told more than once: {told:?}");
    Ok("told of exit 17".into())
}
