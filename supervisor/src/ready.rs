//! Waits for a process's exit or output that a caller can combine with other waits (contract A3).
//!
//! Each has a check, which can be repeated, and a wait, which ends when the check succeeds. The change itself wakes the wait, so
//! nothing is polled. While a caller waits, the process is not idle.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::life::process::Process;
use super::read_positions::ReadPositions;

/// Ready from the time when the exit is visible or the handle of its process is dropped.
pub struct ExitReady {
    process: Arc<Process>,
    dropped: CancellationToken,
}

/// Ready while there is output that the reader has not received, or while the exit is visible, or when the handle of
/// its process is dropped.
pub struct LogsReady {
    process: Arc<Process>,
    /// The reader, and the number of the process for it; none if the process has no cursors.
    reader: Option<(Arc<ReadPositions>, u64)>,
    dropped: CancellationToken,
}

impl ExitReady {
    pub(crate) fn new(process: Arc<Process>, dropped: CancellationToken) -> Self {
        Self { process, dropped }
    }

    /// Completes when it is ready. The future may be dropped, and this may be called again.
    pub async fn ready(&self) {
        // Checked first: in a task that has done much already, tokio may defer a wait even if it is ready.
        if self.process.exit().is_some() || self.dropped.is_cancelled() {
            return;
        }
        let _touched = self.process.touch();
        tokio::select! {
            // An error is an end too: the process no longer exists.
            _ = self.process.exited() => {}
            () = self.dropped.cancelled() => {}
        }
    }
}

impl LogsReady {
    pub(crate) fn new(
        process: Arc<Process>,
        reader: Option<(Arc<ReadPositions>, u64)>,
        dropped: CancellationToken,
    ) -> Self {
        Self {
            process,
            reader,
            dropped,
        }
    }

    /// Completes when it is ready. The future may be dropped, and this may be called again.
    pub async fn ready(&self) {
        let _touched = self.process.touch();
        let mut exited = pin!(self.process.exited());
        loop {
            let mut stdout = pin!(self.process.stdout.changed());
            let mut stderr = pin!(self.process.stderr.changed());
            // From here on no change is missed.
            stdout.as_mut().enable();
            stderr.as_mut().enable();
            if self.is_ready() {
                return;
            }
            tokio::select! {
                () = stdout => {}
                () = stderr => {}
                _ = &mut exited => return,
                () = self.dropped.cancelled() => return,
            }
        }
    }

    fn is_ready(&self) -> bool {
        if self.process.exit().is_some() || self.dropped.is_cancelled() {
            return true;
        }
        let [stdout, stderr] = self
            .reader
            .as_ref()
            .map(|(positions, number)| positions.of(*number))
            .unwrap_or_default();
        self.process.stdout.has_beyond(stdout) || self.process.stderr.has_beyond(stderr)
    }
}

impl fmt::Debug for ExitReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitReady").finish_non_exhaustive()
    }
}

impl fmt::Debug for LogsReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogsReady").finish_non_exhaustive()
    }
}
