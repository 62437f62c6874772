//! Without the grant for processes every request is `capability-denied`, whatever other faults it has.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"commands": []}}"#: run);

fn run() -> Outcome {
    let denied = &ErrorCode::CapabilityDenied;
    let requests = [
        sh("true"),
        command("", &[]),
        SpawnRequest {
            env: vec![var("PATH", "/")],
            ..sh("true")
        },
        SpawnRequest {
            cwd: Some("/".into()),
            ..sh("true")
        },
        SpawnRequest {
            stdin: Some(vec![0; (4 << 20) + 1]),
            ..sh("true")
        },
        SpawnRequest {
            max_lifetime_ms: Some(0),
            ..sh("true")
        },
    ];
    for request in &requests {
        refused("spawn", spawn(request), denied)?;
        refused("spawn-persistent", spawn_persistent(request), denied)?;
    }
    Ok(format!("{} requests denied", requests.len()))
}
