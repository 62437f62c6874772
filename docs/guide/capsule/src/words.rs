//! Writing to standard input: several calls write to one process, and the last call closes its input.

use std::time::Duration;

use capsule_sdk::{Command, Process};
use serde::Deserialize;

use crate::Result;

const LABEL: &str = "words";

// ANCHOR: add
#[derive(Deserialize)]
pub(crate) struct Add {
    word: String,
}

/// Writes a line. `sort` is started by the first call.
pub(crate) fn add(add: Add) -> Result<()> {
    let sort = Command::new("sort").keep_stdin_open(true).find_or_spawn(LABEL)?;
    sort.write(format!("{}\n", add.word).as_bytes())?;
    Ok(())
}
// ANCHOR_END: add

// ANCHOR: sorted
/// Closes the input. `sort` then reads end of file, writes its output, and exits.
pub(crate) fn sorted() -> Result<String> {
    let sort = Process::find(LABEL)?.ok_or("no words: call `add` first")?;
    sort.close_stdin()?;
    let output = sort.wait_with_output(Duration::from_secs(10))?;
    sort.release()?;
    Ok(output.stdout_lossy().into_owned())
}
// ANCHOR_END: sorted
