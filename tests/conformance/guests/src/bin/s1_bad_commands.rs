//! A command that is empty, longer than 4 KiB, or contains NUL or a control character is `invalid-input`.
//!
//! Contract.
//!
//! The shapes are checked before the gate, so none of these may get the answer for a missing grant; a command of
//! exactly 4 KiB must get it.

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let long = "x".repeat(4097);
    let bad = ["", "sh\0", "s\nh", "sh\u{7f}", "\u{1b}[0m", "sh\t", "a\u{85}b", &long];
    for cmd in bad {
        let request = command(cmd, &[]);
        let what = format!("{:?}", cmd.chars().take(9).collect::<String>());
        refused(&what, spawn(&request), &ErrorCode::InvalidInput)?;
        refused(&what, spawn_persistent(&request), &ErrorCode::InvalidInput)?;
    }
    let longest = command(&"x".repeat(4096), &[]);
    refused("a command of 4 KiB", spawn(&longest), &ErrorCode::CapabilityDenied)?;
    Ok(format!("{} bad commands refused", bad.len()))
}
