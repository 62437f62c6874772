//! Reading output without losing any: each call reads on where the call before it stopped.

use std::time::Duration;

use capsule_sdk::{Command, Cursor, Overflow, Process, store};
use serde::Serialize;

use crate::Result;

const LABEL: &str = "numbers";

/// The key of the store under which the place of the next line is kept.
const CURSOR: &str = "numbers/cursor";

// ANCHOR: begin
/// Starts a command that writes more than the host keeps. It waits when 64 KiB of its output are unread.
pub(crate) fn begin() -> Result<()> {
    store::delete(CURSOR)?;
    Command::new("seq")
        .arg("100000")
        .label(LABEL)
        .overflow(Overflow::Backpressure)
        .log_ring_bytes(64 << 10)
        .spawn_persistent()?;
    Ok(())
}
// ANCHOR_END: begin

// ANCHOR: next
#[derive(Serialize)]
pub(crate) struct Part {
    first: Option<String>,
    last: Option<String>,
    /// Whether these were the last lines.
    over: bool,
}

/// Reads the next lines, at most 40,000, and keeps the place for the next call.
pub(crate) fn next() -> Result<Part> {
    let process = Process::find(LABEL)?.ok_or("nothing to read: call `begin` first")?;
    let cursor: Cursor = store::get_json(CURSOR)?.unwrap_or_default();
    let mut log = process.stdout().resume(cursor);
    let patience = Duration::from_secs(10);
    // A line that cannot be read ends the call with its error, for example that output was lost.
    let lines: Vec<String> = log
        .follow()
        .at_most(patience)
        .lines()
        .take(40_000)
        .collect::<capsule_sdk::Result<_>>()?;
    store::set_json(CURSOR, &log.cursor())?;
    Ok(Part {
        first: lines.first().cloned(),
        last: lines.last().cloned(),
        over: log.at_end()?,
    })
}
// ANCHOR_END: next
