//! The ports of a process in the private network of its owner (contract W2).
//!
//! The kernel tells of no new listener, so a wait for one looks again and again, less often as time passes.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::Error;
use super::life::process::Process;
use crate::network::{OwnerNetwork, PortStream};

/// The first pause between two looks of a wait.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// The longest such pause. It is twice the one before until then.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Why a call about a port failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// This owner has no process by this id (contract I3).
    #[error("no-such-process")]
    NoSuchProcess,
    /// The process has no private network: it has none, or the host's, or is not confined.
    #[error("no-network: the process has no private network")]
    NoNetwork,
    /// The process does not listen on the port, or did not begin to in the time of the wait.
    #[error("not-listening: nothing listens on the port")]
    NotListening,
    /// The process has ended.
    #[error("exited: the process has ended")]
    Exited,
    /// The server did not accept the connection within [`NetworkLimits::dial_time`](crate::sandbox::NetworkLimits::dial_time).
    #[error("timeout: the connection was not accepted in time")]
    Timeout,
    /// The network has as many connections as it may ([`NetworkLimits::connections`](crate::sandbox::NetworkLimits::connections)).
    #[error("limit-reached: the network has as many connections as it may")]
    LimitReached,
    /// The capsule is being unloaded or the registry is shutting down.
    #[error("cancelled")]
    Cancelled,
    /// The host itself failed.
    #[error("host: {0}")]
    Host(String),
}

impl PortError {
    /// A name of the error without its text, as [`Error::kind`] has one.
    ///
    /// ```
    /// assert_eq!(capsule_supervisor::PortError::NotListening.kind(), "not-listening");
    /// ```
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoSuchProcess => "no-such-process",
            Self::NoNetwork => "no-network",
            Self::NotListening => "not-listening",
            Self::Exited => "exited",
            Self::Timeout => "timeout",
            Self::LimitReached => "limit-reached",
            Self::Cancelled => "cancelled",
            Self::Host(_) => "unknown(host)",
        }
    }
}

/// Of a connection that was not made, by [`OwnerNetwork::connect`].
impl From<io::Error> for PortError {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::ConnectionRefused {
            Self::NotListening
        } else if kind == io::ErrorKind::TimedOut {
            Self::Timeout
        } else if kind == io::ErrorKind::QuotaExceeded {
            Self::LimitReached
        } else {
            Self::Host(format!("could not connect: {error}"))
        }
    }
}

impl From<Error> for PortError {
    /// Of a process that was looked up.
    fn from(error: Error) -> Self {
        if error == Error::NoSuchProcess {
            Self::NoSuchProcess
        } else if error == Error::Closed {
            Self::Exited
        } else if error == Error::Cancelled {
            Self::Cancelled
        } else {
            Self::Host(error.to_string())
        }
    }
}

/// All ports on which the process's tree listens.
pub(crate) async fn ports(process: &Process, runtime: &Handle) -> Result<Vec<u16>, PortError> {
    let _touched = process.touch();
    let _kept = network(process)?;
    let ports = look(process, None, runtime).await?;
    Ok(ports.into_iter().collect())
}

/// Waits until the process's tree listens on a port, or the process ends, or the time has passed.
pub(crate) async fn wait_for_port(
    process: &Process,
    port: u16,
    timeout: Duration,
    runtime: &Handle,
) -> Result<(), PortError> {
    let _touched = process.touch();
    network(process)?;
    let end = Instant::now() + timeout;
    let listens = async {
        let mut pause = SHORTEST_PAUSE;
        loop {
            // Before the look: one that begins after the end of the time is the last.
            let left = end.saturating_duration_since(Instant::now());
            if look(process, Some(port), runtime).await?.contains(&port) {
                return Ok(());
            }
            if left.is_zero() {
                return Err(PortError::NotListening);
            }
            let pausing = {
                // The clock belongs to the registry: the caller's runtime may have none.
                let _runtime = runtime.enter();
                sleep(pause.min(left))
            };
            pausing.await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    tokio::select! {
        biased;
        exited = process.exited() => Err(exited.map_or_else(PortError::from, |_| PortError::Exited)),
        listens = listens => listens,
    }
}

/// Connects to a port in the process's network.
pub(crate) async fn connect(process: &Process, port: u16) -> Result<PortStream, PortError> {
    let _touched = process.touch();
    Ok(network(process)?.connect(port).await?)
}

/// The network of a process that runs.
fn network(process: &Process) -> Result<Arc<OwnerNetwork>, PortError> {
    let network = process.network.as_ref().ok_or(PortError::NoNetwork)?;
    if process.reaped.load(Ordering::Acquire) {
        return Err(PortError::Exited);
    }
    // Given up when the tree ended, which is seen a moment later.
    Weak::upgrade(network).ok_or(PortError::Exited)
}

/// Looks on a thread that may block.
async fn look(process: &Process, wanted: Option<u16>, runtime: &Handle) -> Result<BTreeSet<u16>, PortError> {
    let meter = Arc::clone(&process.meter);
    match runtime.spawn_blocking(move || meter.listening(wanted)).await {
        Ok(Ok(ports)) => ports.ok_or(PortError::Exited),
        Ok(Err(error)) => Err(PortError::Host(format!("could not look for ports: {error}"))),
        Err(_) => Err(PortError::Cancelled),
    }
}
