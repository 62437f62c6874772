//! `spawn-persistent` without the persistent grant is `capability-denied`, while `spawn` works.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"commands": ["sh"], "persistent": false}}"#: run);

fn run() -> Outcome {
    refused(
        "spawn-persistent",
        spawn_persistent(&sh("echo >> ran")),
        &ErrorCode::CapabilityDenied,
    )?;
    check!(holds("test ! -e ran")?, "a refused command ran");
    Ok("denied".into())
}
