//! By default a principal may have eight processes.
//!
//! Contract.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    for n in 0..8 {
        let started = start("sleep 1000");
        check!(started.is_ok(), "process {n}: {started:?}");
    }
    refused("the ninth", spawn(&sh("true")), &ErrorCode::Quota)?;
    refused("the ninth", spawn_persistent(&sh("true")), &ErrorCode::Quota)?;
    Ok("eight".into())
}
