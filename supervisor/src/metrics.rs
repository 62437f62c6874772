//! The metrics of a host, through the facade of the crate `metrics` (contract U2).
//!
//! An embedder that wants the metrics installs a recorder, such as `metrics-exporter-prometheus`, before the first
//! registry is made. Without a recorder, counting costs next to nothing. The metrics cover the whole program, over all
//! registries. No label holds a principal, a capsule, a command or an id.
//!
//! | name | kind | unit | labels |
//! |---|---|---|---|
//! | [`SPAWNS`] | counter | spawns | `tier`, `outcome` |
//! | [`LIVE`] | gauge | processes | |
//! | [`RETAINED`] | gauge | ids | |
//! | [`DRAINED`] | counter | bytes | |
//! | [`READ`] | counter | bytes | |
//! | [`DROPPED`] | counter | bytes | |
//! | [`SPAWN_TIME`] | histogram | seconds | |
//! | [`EXIT_TIME`] | histogram | seconds | |
//! | [`NETWORK_DECISIONS`] | counter | decisions | `outcome` |
//! | [`NETWORK_BYTES`] | counter | bytes | `direction` |

use std::time::Duration;

use ::metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

pub use crate::network::metrics::{NETWORK_BYTES, NETWORK_DECISIONS};

use super::{Error, Tier};
use crate::network::metrics as network;

/// Spawns by the requested tier (`captured`, `background`, `persistent`) and by the result of the start: `ok` once the command
/// runs, however it ends later, or the error's [`kind`](Error::kind).
pub const SPAWNS: &str = "capsule_spawns_total";
/// Processes that run or are being started: those that count against the quota of their principal.
pub const LIVE: &str = "capsule_processes_live";
/// Ids of persistent processes, live and exited, that are not released.
pub const RETAINED: &str = "capsule_ids_retained";
/// Output that was drained: by `read-logs`, or as the result of a call that waited for the end.
pub const DRAINED: &str = "capsule_output_drained_bytes_total";
/// Output that was returned by cursor. If two readers get it, it counts twice.
pub const READ: &str = "capsule_output_read_bytes_total";
/// Output that was evicted before it was drained. It is counted when the stream is next read, and when the stream is
/// dropped.
pub const DROPPED: &str = "capsule_output_dropped_bytes_total";
/// The time from an admitted request to a running command.
pub const SPAWN_TIME: &str = "capsule_spawn_seconds";
/// The time from the end of a command until its exit is visible: the end of its tree, and the reading of the rest of its output.
pub const EXIT_TIME: &str = "capsule_exit_seconds";

/// Describes the metrics to the recorder. A registry does this when it is made.
pub fn describe() {
    describe_counter!(SPAWNS, Unit::Count, "Spawns, by tier and outcome");
    describe_gauge!(LIVE, Unit::Count, "Processes that run or are being started");
    describe_gauge!(
        RETAINED,
        Unit::Count,
        "Ids of persistent processes that are not released"
    );
    describe_counter!(DRAINED, Unit::Bytes, "Output that was drained: read and removed");
    describe_counter!(READ, Unit::Bytes, "Output that was read by cursor");
    describe_counter!(DROPPED, Unit::Bytes, "Output that was evicted to make room");
    describe_histogram!(
        SPAWN_TIME,
        Unit::Seconds,
        "Time from an admitted request to a running command"
    );
    describe_histogram!(
        EXIT_TIME,
        Unit::Seconds,
        "Time from the end of a command to its visible exit"
    );
    network::describe();
}

/// The gauge of processes, for the budgets that count them.
pub(crate) fn live() -> Gauge {
    gauge!(LIVE)
}

/// The gauge of ids, for the budget that counts them.
pub(crate) fn retained() -> Gauge {
    gauge!(RETAINED)
}

/// Starts a process, and counts the result. A start that is dropped is not counted, because no caller got a result.
pub(crate) async fn counted<T>(tier: Tier, start: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let started = start.await;
    let tier = match tier {
        Tier::Captured => "captured",
        Tier::Background => "background",
        Tier::Persistent => "persistent",
    };
    let outcome = started.as_ref().map_or_else(Error::kind, |_| "ok");
    counter!(SPAWNS, "tier" => tier, "outcome" => outcome).increment(1);
    started
}

pub(crate) fn launched(took: Duration) {
    histogram!(SPAWN_TIME).record(took);
}

pub(crate) fn exited(took: Duration) {
    histogram!(EXIT_TIME).record(took);
}

pub(crate) fn drained(bytes: usize) {
    if bytes > 0 {
        counter!(DRAINED).increment(bytes as u64);
    }
}

pub(crate) fn read(bytes: usize) {
    if bytes > 0 {
        counter!(READ).increment(bytes as u64);
    }
}

pub(crate) fn dropped(bytes: u64) {
    if bytes > 0 {
        counter!(DROPPED).increment(bytes);
    }
}
