//! Takes a running command into supervision, in two phases: first it makes the state that the tasks and the callers share, then
//! it starts the tasks.
//!
//! Between the two phases a caller puts the process into its owner's table. The guard that keeps it there then belongs to the
//! monitor.
//! Before, there is no process to put there; after, the process may be gone already.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::lifecycle::{Lifecycle, Times};
use super::monitor::{self, Monitor, RetentionGuard};
use super::options::ProcessOptions;
use super::process::{Process, Status, Touch};
use super::sampler;
use super::stdin::{self, Stdin};
use super::timers::Timers;
use crate::Error;
use crate::events::Carriers;
use crate::generation::Member;
use crate::log::output::Output;
use crate::log::reader;
use crate::quota::{Permit, Reservation};
use crate::sandbox::{Launched, ResourceLimits};
use crate::watch::Watch;

/// The runtime for the tasks of all processes of a registry, and the state that they share.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    pub(crate) runtime: Handle,
    pub(crate) tracker: TaskTracker,
    pub(crate) timers: Timers,
    /// Cancelled when the registry shuts down.
    pub(crate) closing: CancellationToken,
    pub(crate) events: Arc<Carriers>,
}

/// A command that runs and is not supervised yet. Dropping it ends the command, then gives its reservations back.
pub(crate) struct LaunchedProcess {
    pub(crate) launched: Launched,
    pub(crate) reservation: Reservation,
    pub(crate) member: Member,
    /// The token for which a shutdown waits.
    pub(crate) token: TaskTrackerToken,
}

/// A process with the state that its tasks and its callers share, before its tasks are started.
pub(crate) struct PreparedProcess {
    monitor: Monitor,
    stdin: Option<OwnedFd>,
    /// The limits that are enforced by samples, if any.
    sampled: Option<ResourceLimits>,
    drain_time: Duration,
    token: TaskTrackerToken,
}

impl LaunchedProcess {
    /// The first phase. Also returns the reservation to give back when the id is removed.
    ///
    /// # Errors
    /// The pipes could not be registered with the runtime; the command is ended.
    pub(crate) fn prepare(
        self,
        options: ProcessOptions,
        tasks: &Tasks,
    ) -> Result<(PreparedProcess, Vec<Permit>), Error> {
        // If this fails, the fields are dropped from the last to the first, so a shutdown waits until everything is
        // given back.
        let Self {
            token,
            member,
            reservation,
            launched,
        } = self;
        let _runtime = tasks.runtime.enter();
        let Launched {
            child,
            stdin: stdin_pipe,
            stdout,
            stderr,
            network,
            ..
        } = launched;
        let monitor_wake = Arc::new(Notify::new());
        let output = |pipe| Output::new(pipe, options.ring, options.overflow, Arc::clone(&monitor_wake)).map(Arc::new);
        let registered = output(stdout).and_then(|stdout| Ok((stdout, output(stderr)?)));
        let (stdout, stderr) = registered.map_err(|error| Error::Host(format!("could not watch a pipe: {error}")))?;
        let stdin = Arc::new(match stdin_pipe {
            Some(_) => Stdin::new(
                options.stdin,
                options.keep_stdin_open,
                options.abandoned_writes_max,
                Arc::clone(&monitor_wake),
            ),
            None => Stdin::closed(),
        });
        let started = Instant::now();
        let (status_sender, status) = watch::channel(Status::default());
        let (requests, inbox) = mpsc::unbounded_channel();
        let process = Arc::new(Process {
            meter: Arc::clone(child.meter()),
            started,
            stdout,
            stderr,
            stdin,
            status,
            watch: Watch::new(options.owner, options.limits, child.meter().has_memory()),
            network: network.as_ref().map(Arc::downgrade),
            reaped: AtomicBool::new(false),
            carriers: Arc::clone(&tasks.events),
            requests,
            touch: Touch::default(),
        });
        let times = Times {
            lifetime_end: options.lifetime.map(|lifetime| started + lifetime),
            idle: options.idle,
            retention: options.retention,
            grace: options.grace,
        };
        let sampled = sampler::wanted(&options.limits, &process.meter);
        let monitor = Monitor {
            child: Some(child),
            lifecycle: Lifecycle::new(times),
            status: status_sender,
            inbox,
            wake: monitor_wake,
            timer: tasks.timers.timer(),
            member,
            grace_shutdown: options.grace_shutdown,
            ends_when_full: options.ends_when_full,
            slot: Some(reservation.slot),
            network,
            retained: None,
            process,
            ended_at: None,
            just_published: false,
        };
        let prepared = PreparedProcess {
            monitor,
            stdin: stdin_pipe,
            sampled,
            drain_time: options.drain_time,
            token,
        };
        Ok((prepared, reservation.retained))
    }
}

impl PreparedProcess {
    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.monitor.process
    }

    /// The second phase. `retained` is dropped when the id is removed.
    pub(crate) fn start(self, retained: RetentionGuard, tasks: &Tasks) -> Arc<Process> {
        let Self {
            mut monitor,
            stdin,
            sampled,
            drain_time,
            token,
        } = self;
        monitor.retained = Some(retained);
        let process = Arc::clone(&monitor.process);
        if let Some(pipe) = stdin {
            spawn(tasks, stdin::run(Arc::clone(&process.stdin), pipe));
        }
        if let Some(limits) = sampled {
            spawn(tasks, sampler::run(Arc::clone(&process), limits));
        }
        // One task, because an exit concerns all three futures at once: as three tasks they would wake each other's
        // threads. They are in boxes, because otherwise the task would have room for each twice, for the argument and
        // for the polled future.
        let outputs = [&process.stdout, &process.stderr];
        let [stdout, stderr] = outputs.map(|output| Box::pin(reader::run(Arc::clone(output), drain_time)));
        let monitor = Box::pin(monitor::run(monitor));
        spawn(tasks, async move {
            tokio::join!(monitor, stdout, stderr);
        });
        // Dropped only now, because until here no other count includes the process.
        drop(token);
        process
    }
}

fn spawn(tasks: &Tasks, task: impl Future<Output = ()> + Send + 'static) {
    drop(tasks.tracker.spawn_on(task, &tasks.runtime));
}
