//! `spawn-background` itself also fails if the program does not exist or cannot be executed.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"grants": {"commands": ["sh", "absent", "./plain"]}}"#: run);

fn run() -> Outcome {
    output("echo > plain")?;
    refused_as("absent", spawn_background(&command("absent", &[])), "not-found:")?;
    refused_as(
        "plain",
        spawn_background(&command("./plain", &[])),
        "permission-denied:",
    )?;
    Ok("not-found, permission-denied".into())
}
