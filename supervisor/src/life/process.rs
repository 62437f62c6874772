//! A process that the host supervises: the state that its tasks and its callers share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::lifecycle::{End, Reason};
use super::stdin::Stdin;
use crate::events::Carriers;
use crate::log::output::Output;
use crate::network::PublishedPort;
use crate::network::owner_network::OwnerNetwork;
use crate::os::usage::Meter;
use crate::text;
use crate::watch::{Topics, Watch};
use crate::{Error, ExitInfo, LogStream, Logs, ProcessId, Signal};

/// The state of a process that every caller may see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Status {
    pub(crate) exit: Option<(ExitInfo, Reason)>,
    /// The id was removed, and is now as unknown as one that was never issued.
    pub(crate) gone: bool,
}

/// The requests of callers to the monitor.
#[derive(Debug)]
pub(crate) enum Request {
    Signal {
        signal: Signal,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    End {
        end: End,
        grace: Duration,
    },
    Release {
        reply: oneshot::Sender<bool>,
    },
}

/// Ends the process when it is dropped.
#[derive(Debug)]
pub(crate) struct KillOnDrop(pub(crate) Arc<Process>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.end(End::Abandoned, Duration::ZERO);
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) meter: Arc<Meter>,
    pub(crate) started: Instant,
    pub(crate) stdout: Arc<Output>,
    pub(crate) stderr: Arc<Output>,
    pub(crate) stdin: Arc<Stdin>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) watch: Watch,
    /// The private network that it was started in, if it was. The monitor keeps it, as long as the tree.
    pub(crate) network: Option<Weak<OwnerNetwork>>,
    /// The command has ended and its pid is no longer its own.
    pub(crate) reaped: AtomicBool,
    pub(super) carriers: Arc<Carriers>,
    pub(super) requests: mpsc::UnboundedSender<Request>,
    pub(super) touch: Touch,
}

/// The time when a call last touched a process (contract T2).
#[derive(Debug, Default)]
pub(super) struct Touch {
    /// In nanoseconds after the start of the process.
    at: AtomicU64,
    /// The number of calls in flight.
    calls: AtomicUsize,
}

impl Process {
    pub(crate) fn output(&self, stream: LogStream) -> &Output {
        match stream {
            LogStream::Stdout => &self.stdout,
            LogStream::Stderr => &self.stderr,
        }
    }

    /// The exit, if it is visible.
    pub(crate) fn exit(&self) -> Option<ExitInfo> {
        self.status.borrow().exit.map(|(exit, _)| exit)
    }

    /// Completes when the exit is visible, and returns it with the reason.
    pub(crate) async fn exited(&self) -> Result<(ExitInfo, Reason), Error> {
        let mut status = self.status.clone();
        let seen = status.wait_for(|status| status.exit.is_some()).await;
        // The monitor is gone, because the process ended with the runtime.
        seen.ok().and_then(|status| status.exit).ok_or(Error::Cancelled)
    }

    /// Whether the id was removed.
    pub(crate) fn is_gone(&self) -> bool {
        self.status.borrow().gone
    }

    /// Completes when the id was removed.
    pub(crate) async fn gone(&self) -> Result<ExitInfo, Error> {
        let mut status = self.status.clone();
        let seen = status.wait_for(|status| status.gone).await;
        seen.ok()
            .and_then(|status| status.exit)
            .map(|(exit, _)| exit)
            .ok_or(Error::Cancelled)
    }

    /// Asks for the end of the process; returns at once.
    pub(crate) fn end(&self, end: End, grace: Duration) {
        // Without a monitor the process has already ended.
        drop(self.requests.send(Request::End { end, grace }));
    }

    /// Signals the command's process group; does nothing to an exited process.
    pub(crate) async fn signal(&self, signal: Signal) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Signal { signal, reply }).is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }

    /// Releases an exited process; `false` if it has not exited.
    pub(crate) async fn release(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Release { reply }).is_err() {
            return true;
        }
        answer.await.unwrap_or(true)
    }

    /// The command's pid, until the command was reaped.
    pub(crate) fn os_pid(&self) -> Option<u32> {
        self.meter.os_pid().filter(|_| !self.reaped.load(Ordering::Acquire))
    }

    /// The published ports of its network, while it may be in it.
    pub(crate) fn published(&self) -> Vec<PublishedPort> {
        let network = self.network.as_ref().filter(|_| !self.reaped.load(Ordering::Acquire));
        let network = network.and_then(Weak::upgrade);
        network.map_or_else(Vec::new, |network| network.published().to_vec())
    }

    /// Takes the buffered output of both streams (contract L1).
    pub(crate) fn read_logs(&self) -> Logs {
        let _touched = self.touch();
        // Before the streams: if the exit is seen here, no output follows the output that is read below.
        let exit = self.exit();
        let text = |output: &Output| text::lossy(output.drain().into_bytes());
        Logs {
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
            running: exit.is_none(),
            exit,
        }
    }

    /// Waits until the exit is visible, then returns and removes the rest of both streams.
    pub(crate) async fn drain_to_end(&self) -> (Vec<u8>, Vec<u8>) {
        let stdout = self.stdout.drain_to_end().await;
        (stdout, self.stderr.drain_to_end().await)
    }

    /// Writes all of `data`, at most `max` bytes, to stdin (contract N1 to N3).
    pub(crate) async fn write_stdin(&self, data: Vec<u8>, max: usize) -> Result<u32, Error> {
        let _touched = self.touch();
        if data.len() > max {
            return Err(Error::TooLarge);
        }
        let count = u32::try_from(data.len()).map_err(|_| Error::TooLarge)?;
        self.stdin.write(data).await?;
        Ok(count)
    }

    /// Waits for the exit, for ever without a `timeout`.
    pub(crate) async fn wait(&self, timeout: Option<Duration>, clock: &Handle) -> Result<ExitInfo, Error> {
        let _touched = self.touch();
        if let Some(exit) = self.exit() {
            return Ok(exit);
        }
        let exited = self.exited();
        let Some(timeout) = timeout else {
            return exited.await.map(|(exit, _)| exit);
        };
        let waiting = {
            // The clock belongs to the registry: the caller's runtime may have none.
            let _runtime = clock.enter();
            tokio::time::timeout(timeout, exited)
        };
        match waiting.await {
            Ok(exited) => exited.map(|(exit, _)| exit),
            Err(_) => Err(Error::WaitTimeout),
        }
    }

    /// Publishes events as `subscription` says; without one, publishes none.
    pub(crate) fn watch(&self, subscription: Option<(ProcessId, Topics)>) {
        let wanted = subscription.is_some();
        self.watch.set(subscription);
        self.stdout.announce(wanted);
        self.stderr.announce(wanted);
        self.stdin.announce(wanted);
        // Before the exit: a caller that sees the exit stops looking for events.
        self.publish_pending_events();
        self.publish_exit_event();
    }

    /// Publishes the exit if it is subscribed to and was not published. Called when the exit becomes visible, and when
    /// a caller subscribes: the later of the two finds both conditions true.
    pub(crate) fn publish_exit_event(&self) {
        let exit = self.status.borrow().exit;
        let event = exit.and_then(|(exit, reason)| self.watch.exited(exit, reason));
        event.into_iter().for_each(|event| self.carriers.publish(event));
    }

    /// Publishes the other events that are pending.
    pub(crate) fn publish_pending_events(&self) {
        let outputs = [(&self.stdout, LogStream::Stdout), (&self.stderr, LogStream::Stderr)];
        let output = outputs
            .into_iter()
            .filter(|(output, _)| output.take_pending_event())
            .filter_map(|(_, stream)| self.watch.log_ready(stream));
        let drained = self
            .stdin
            .take_pending_event()
            .then(|| self.watch.stdin_drained())
            .flatten();
        output.chain(drained).for_each(|event| self.carriers.publish(event));
    }

    /// Records a call in flight until the guard is dropped.
    pub(crate) fn touch(&self) -> Touched<'_> {
        self.touch.calls.fetch_add(1, Ordering::Relaxed);
        Touched(self)
    }

    /// The time of the last touch: now, while a call is in flight.
    pub(crate) fn touched(&self) -> Instant {
        // A caller that sees no call in flight also sees the time when the last one ended.
        if self.touch.calls.load(Ordering::Acquire) > 0 {
            Instant::now()
        } else {
            self.started + Duration::from_nanos(self.touch.at.load(Ordering::Relaxed))
        }
    }
}

/// A call in flight.
pub(crate) struct Touched<'a>(&'a Process);

impl Drop for Touched<'_> {
    fn drop(&mut self) {
        let Process { started, touch, .. } = self.0;
        // Enough for half a millennium.
        let at = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        touch.at.fetch_max(at, Ordering::Relaxed);
        touch.calls.fetch_sub(1, Ordering::Release);
    }
}
