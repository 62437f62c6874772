//! A handle on a process: on one that ends with the handle, or on a persistent one that the caller attached to.
//!
//! Both kinds use the same process type, and a handle's methods and the calls by id act on the same state (contract A1). They
//! differ in the effect of a drop, and in that an id can go while a handle is held: the handle's methods then return
//! [`Error::Closed`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::life::lifecycle::{End, Reason};
use super::life::process::{KillOnDrop, Process};
use super::ports::{self, PortError};
use super::read_positions::ReadPositions;
use super::ready::{ExitReady, LogsReady};
use super::shared::Core;
use super::table::Entry;
use super::types::{ExitInfo, Killed, Logs, RunOutput, Signal};
use super::{Error, ProcessId};
use crate::sandbox::PortStream;

/// Dropping it ends the process and its whole tree, unless the handle was attached by an id: then the process runs on
/// (contract S9, A1).
///
/// When a stop, a timer or a shutdown has removed the process, every method returns [`Error::Closed`]. Every future may
/// be dropped at any time.
pub struct Handle {
    core: Arc<Core>,
    ownership: Ownership,
    positions: Arc<ReadPositions>,
    dropped: DropGuard,
}

/// Whether a process ends with its handle.
pub(crate) enum Ownership {
    Owned(KillOnDrop),
    Attached(Arc<Entry>),
}

impl Handle {
    pub(crate) fn new(core: Arc<Core>, ownership: Ownership, positions: Arc<ReadPositions>) -> Self {
        Self {
            core,
            ownership,
            positions,
            dropped: CancellationToken::new().drop_guard(),
        }
    }

    /// The id of a process that was attached by its id. `None` for a process that ends with the handle.
    #[must_use]
    pub fn id(&self) -> Option<&ProcessId> {
        match &self.ownership {
            Ownership::Owned(_) => None,
            Ownership::Attached(entry) => Some(&entry.id),
        }
    }

    /// Returns and removes what both streams have buffered (L1).
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn read_logs(&self) -> Result<Logs, Error> {
        Ok(self.live()?.read_logs())
    }

    /// As [`Scope::write_stdin`](super::Scope::write_stdin).
    ///
    /// # Errors
    /// As there, with [`Error::Closed`] in place of [`Error::NoSuchProcess`].
    pub async fn write_stdin(&self, data: Vec<u8>) -> Result<u32, Error> {
        self.live()?.write_stdin(data, self.core.limits.write_max).await
    }

    /// Accepts no more writes. End of file follows the writes that were accepted before (N4). May be called again.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn close_stdin(&self) -> Result<(), Error> {
        let process = self.live()?;
        let _touched = process.touch();
        process.stdin.close();
        Ok(())
    }

    /// Signals the command's process group (K1). Does nothing to an exited process. If the future is dropped, the
    /// signal is still sent.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn signal(&self, signal: Signal) -> Result<(), Error> {
        let process = self.live()?;
        let _touched = process.touch();
        process.signal(signal).await
    }

    /// Kills the tree, waits for the exit, and returns and removes the remaining output of both streams (K3). If the
    /// process has already exited, it returns the recorded exit and the rest of the output. An attached process keeps
    /// its id. If the future is dropped, the process is still killed.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Cancelled`] if the runtime has ended.
    pub async fn kill(&self) -> Result<Killed, Error> {
        let process = self.live()?;
        let _touched = process.touch();
        let ran = process.exit().is_none();
        process.end(End::Kill, Duration::ZERO);
        let (exit, reason) = process.exited().await?;
        let (stdout, stderr) = process.drain_to_end().await;
        Ok(Killed {
            killed: ran && reason != Reason::SelfExit,
            exit,
            stdout,
            stderr,
        })
    }

    /// Waits for the exit (X3, X5), for at most `timeout`. Without a `timeout` it waits for ever, which is refused for
    /// an attached process. The wait reaps nothing.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] without a timeout for an attached process; [`Error::WaitTimeout`]; [`Error::Closed`];
    /// [`Error::Cancelled`] if the runtime has ended.
    pub async fn wait(&self, timeout: Option<Duration>) -> Result<ExitInfo, Error> {
        let timeout = self.timeout(timeout)?;
        self.live()?.wait(timeout, &self.core.tasks.runtime).await
    }

    /// Waits for the exit, then returns and removes the buffered output of both streams, to their end (A2). If the time
    /// passes first, no output is removed. The call does not read while the process runs, so a process that waits for
    /// room in a full ring does not exit.
    ///
    /// # Errors
    /// As for [`Self::wait`].
    pub async fn wait_with_output(&self, timeout: Option<Duration>) -> Result<RunOutput, Error> {
        let exit = self.wait(timeout).await?;
        let (stdout, stderr) = self.process().drain_to_end().await;
        Ok(RunOutput { stdout, stderr, exit })
    }

    /// As [`Scope::ports`](super::Scope::ports).
    ///
    /// # Errors
    /// Of that, but [`PortError::Exited`] where the process is gone.
    pub async fn ports(&self) -> Result<Vec<u16>, PortError> {
        ports::ports(self.live()?, &self.core.tasks.runtime).await
    }

    /// As [`Scope::wait_for_port`](super::Scope::wait_for_port). As the waits of [`Self::wait`], one for a process that was not
    /// attached to may be of any length.
    ///
    /// # Errors
    /// Of that, but [`PortError::Exited`] where the process is gone.
    pub async fn wait_for_port(&self, port: u16, timeout: Duration) -> Result<(), PortError> {
        let timeout = self.timeout(Some(timeout))?.unwrap_or(timeout);
        ports::wait_for_port(self.live()?, port, timeout, &self.core.tasks.runtime).await
    }

    /// As [`Scope::connect`](super::Scope::connect).
    ///
    /// # Errors
    /// Of that, but [`PortError::Exited`] where the process is gone.
    pub async fn connect(&self, port: u16) -> Result<PortStream, PortError> {
        ports::connect(self.live()?, port).await
    }

    /// The pid of the command in the host's pid namespace (X7).
    ///
    /// # Errors
    /// [`Error::Closed`] when the command has ended.
    pub fn os_pid(&self) -> Result<u32, Error> {
        let process = self.live()?;
        let _touched = process.touch();
        process.os_pid().ok_or(Error::Closed)
    }

    /// A source that becomes ready with the exit (A3). It may outlive the handle, and is ready as soon as the handle is
    /// dropped.
    #[must_use]
    pub fn exit_ready(&self) -> ExitReady {
        drop(self.process().touch());
        ExitReady::new(Arc::clone(self.process()), self.token())
    }

    /// A source that is ready while there is output that this reader has not received, or while the exit is visible
    /// (A3). It may outlive the handle, and is ready as soon as the handle is dropped.
    #[must_use]
    pub fn logs_ready(&self) -> LogsReady {
        drop(self.process().touch());
        let number = match &self.ownership {
            // An owned process has no cursors.
            Ownership::Owned(_) => None,
            Ownership::Attached(entry) => Some(entry.number),
        };
        let reader = number.map(|number| (Arc::clone(&self.positions), number));
        LogsReady::new(Arc::clone(self.process()), reader, self.token())
    }

    /// Drops the handle, and completes when the drop has taken effect: a process that ends with the handle has ended,
    /// and its place in the quota is free (S5).
    pub async fn close(self) {
        let process = match &self.ownership {
            Ownership::Owned(owned) => Some(Arc::clone(&owned.0)),
            Ownership::Attached(_) => None,
        };
        drop(self);
        if let Some(process) = process {
            // An error means that the monitor has ended, and then the process is gone, too.
            drop(process.gone().await);
        }
    }

    fn process(&self) -> &Arc<Process> {
        match &self.ownership {
            Ownership::Owned(owned) => &owned.0,
            Ownership::Attached(entry) => &entry.process,
        }
    }

    fn live(&self) -> Result<&Process, Error> {
        let process = self.process();
        if process.is_gone() {
            return Err(Error::Closed);
        }
        Ok(process)
    }

    fn timeout(&self, asked: Option<Duration>) -> Result<Option<Duration>, Error> {
        let limits = &self.core.limits;
        match (&self.ownership, asked) {
            (Ownership::Owned(_), asked) => Ok(asked.map(|asked| limits.longest(asked))),
            (Ownership::Attached(_), Some(asked)) => Ok(Some(limits.wait(asked))),
            (Ownership::Attached(_), None) => Err(Error::InvalidInput(
                "a wait on an attached process needs a timeout".into(),
            )),
        }
    }

    fn token(&self) -> CancellationToken {
        self.dropped.token().clone()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
