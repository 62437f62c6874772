//! A handle on a process: on one that ends with the handle, or on a persistent one that the caller attached to.
//!
//! Both kinds use the same process type, and a handle's methods and the calls by id act on the same state (contract A1). They
//! differ in the effect of a drop, and in that an id can go while a handle is held: the handle's methods then return
//! [`Error::Closed`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
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

/// Dropping it ends the process and everything that it started, unless it was attached to by its id: then dropping only
/// lets go (contract S9, A1).
///
/// Once the process is gone, by a stop or a timer or a shutdown, every method is [`Error::Closed`]. Every future may be
/// dropped at any time.
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

    /// The id, of a process that was attached to.
    #[must_use]
    pub fn id(&self) -> Option<&ProcessId> {
        match &self.ownership {
            Ownership::Owned(_) => None,
            Ownership::Attached(entry) => Some(&entry.id),
        }
    }

    /// Takes out what both streams have buffered (L1).
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn read_logs(&self) -> Result<Logs, Error> {
        Ok(self.live()?.read_logs())
    }

    /// As [`Scope::write_stdin`](super::Scope::write_stdin).
    ///
    /// # Errors
    /// Of that, but [`Error::Closed`] where the process is gone.
    pub async fn write_stdin(&self, data: Vec<u8>) -> Result<u32, Error> {
        self.live()?.write_stdin(data, self.core.limits.write_max).await
    }

    /// Accepts no more writes; end of file follows those accepted so far (N4). Succeeds however often it is called.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn close_stdin(&self) -> Result<(), Error> {
        let process = self.live()?;
        let _touched = process.touch();
        process.stdin.close();
        Ok(())
    }

    /// Signals the command's process group (K1). Does nothing to an exited process. Dropped, it is still sent.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn signal(&self, signal: Signal) -> Result<(), Error> {
        let process = self.live()?;
        let _touched = process.touch();
        process.signal(signal).await
    }

    /// Kills the tree, waits for the exit and takes out what both streams still hold (K3). Of a process that had exited it
    /// returns the exit and the rest of its output. One that was attached to keeps its id. Dropped, the process is killed all
    /// the same.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Cancelled`] where the runtime went down.
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

    /// Waits for the exit (X3, X5); for ever without a `timeout`, which an attached process refuses. Reaps nothing.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] without a timeout for an attached process; [`Error::WaitTimeout`]; [`Error::Closed`];
    /// [`Error::Cancelled`] where the runtime went down.
    pub async fn wait(&self, timeout: Option<Duration>) -> Result<ExitInfo, Error> {
        let timeout = self.timeout(timeout)?;
        self.live()?.wait(timeout, &self.core.tasks.runtime).await
    }

    /// Waits for the exit, and takes out what both streams hold then, to their end (A2). Nothing is taken where the time
    /// passes first. It does not read while the process runs: one that waits for room in a full ring does not exit.
    ///
    /// # Errors
    /// As of [`Self::wait`].
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
    pub async fn connect(&self, port: u16) -> Result<TcpStream, PortError> {
        ports::connect(self.live()?, port).await
    }

    /// The command's pid in the host's pid namespace (X7).
    ///
    /// # Errors
    /// [`Error::Closed`] once it has ended.
    pub fn os_pid(&self) -> Result<u32, Error> {
        let process = self.live()?;
        let _touched = process.touch();
        process.os_pid().ok_or(Error::Closed)
    }

    /// What becomes ready with the exit (A3). It may outlive the handle, and is ready from then on.
    #[must_use]
    pub fn exit_ready(&self) -> ExitReady {
        drop(self.process().touch());
        ExitReady::new(Arc::clone(self.process()), self.token())
    }

    /// What is ready while there is output that this reader has not been handed, or the exit is to be seen (A3). It may
    /// outlive the handle, and is ready from then on.
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

    /// Drops the handle, and completes once that has taken effect: what ends with it has ended, and what it counted
    /// against is free again (S5).
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
