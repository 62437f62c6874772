//! The first page: an action with a payload, and an action that runs a command.

use capsule_sdk::Command;
use serde::Deserialize;

use crate::Result;

// ANCHOR: greet
#[derive(Deserialize)]
pub(crate) struct Greet {
    name: String,
}

/// The JSON after `greet=` becomes the argument.
pub(crate) fn greet(greet: Greet) -> Result<String> {
    Ok(format!("Hello, {}!", greet.name))
}
// ANCHOR_END: greet

// ANCHOR: kernel
/// Runs a command to its end, and returns its output.
pub(crate) fn kernel() -> Result<String> {
    let output = Command::new("uname").arg("-s").output()?;
    Ok(output.stdout_lossy().trim_end().to_owned())
}
// ANCHOR_END: kernel
