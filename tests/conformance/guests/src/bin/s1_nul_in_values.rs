//! NUL in an argument or in a variable's value is `invalid-input`, and nothing runs.
//!
//! Interface process@1.1.0: "Command / args / cwd / env failed validation (NUL bytes, control chars, max length)."

use conformance_guest::*;

case!(run);

fn run() -> Outcome {
    let arg = command("sh", &["-c", "echo >> ran", "a\0b"]);
    let value = SpawnRequest {
        env: vec![var("GOOD", "\0")],
        ..sh("echo >> ran")
    };
    for (what, request) in [("an argument", arg), ("a value", value)] {
        refused(what, spawn(&request), &ErrorCode::InvalidInput)?;
        refused(what, spawn_persistent(&request), &ErrorCode::InvalidInput)?;
    }
    check!(holds("test ! -e ran")?, "a refused command ran");
    Ok("refused, and nothing ran".into())
}
