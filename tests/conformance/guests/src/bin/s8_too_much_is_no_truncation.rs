//! Output beyond the capture limit ends the whole tree and is `too-large`; output of exactly the limit is not.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"settings": {"capture-max": 65536}}"#: run);

fn run() -> Outcome {
    for stream in ["", ">&2"] {
        let exact = spawn(&sh(&format!("head -c 65536 /dev/zero {stream}")))?;
        check!(
            exact.stdout.len() + exact.stderr.len() == 65536,
            "exactly the cap: {} and {}",
            exact.stdout.len(),
            exact.stderr.len()
        );
        let endless = sh(&format!("{}; while :; do echo yes {stream}; done", daemon("lock")));
        refused("endless output", spawn(&endless), &ErrorCode::TooLarge)?;
        until_free("lock")?;
    }
    Ok("the cap passes, one that goes on is ended".into())
}
