//! A process tree under an init, which the host controls through the channel to the init.
//!
//! The kernel may reuse a pid once its process was reaped, so the host never signals a pid. Only init reaps the command, so init
//! sends the signals when the host asks for them. The end of the channel always ends the tree. Init is not a child of the host, so
//! the host has nothing to reap: the kernel removes init when it exits.
//!
//! An init is a process like others: a process of the same user can stop it, and a tree can keep it busy. So every wait here is
//! bounded (contract B5). If an init was told to end its tree and has not done so within [`INIT_GRACE`], the host kills the init,
//! and the kernel ends the init's namespace with it.
//!
//! Even the kernel may not be able to end a process at once: a process that waits for a file system which never answers ends only
//! with that wait. After [`KILL_TIMEOUT`] no part of the host waits for such a tree any more. The tree stays
//! [stuck](Child::is_stuck) until the kernel releases it, and its resources stay counted until then.
//!
//! A running process costs the host few descriptors: the channel, the counter of its processor time, and its pipes.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use capsule_init::{Command, Exit, Report};
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::channel::{Channel, Pending};
use super::process::{KILL_TIMEOUT, Process};
use super::readiness::{self, Watched};
use super::unsent::Unsent;
use super::usage::{Meter, Usage};

/// How a command ended, as the kernel reports it: exactly one of the two is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawExit {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// How long an init may take to end its tree after the host asked for it. Then the host has the kernel end both, and repeats that
/// after the same time.
const INIT_GRACE: Duration = Duration::from_millis(100);

/// The interval at which the kernel is asked again to end a tree that the host has given up.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A command and every process that it started. Dropping it kills these processes and waits for the end of init.
#[derive(Debug)]
pub(crate) struct Child {
    channel: Watched<Channel>,
    init: Process,
    meter: Arc<Meter>,
    life: AtomicU8,
    /// Whether init is pid 1 of a namespace that holds the tree.
    confined: bool,
    /// The time when the tree was first killed.
    killed: OnceLock<Instant>,
    /// The time when init was first dismissed. This may be much later than the kill, because a tree may take long to
    /// end.
    dismissed: OnceLock<Instant>,
    /// How the command ended, if init has reported it before the end of the tree.
    status: OnceLock<i32>,
    /// There once the channel has not taken a command.
    unsent: OnceLock<Box<Unsent>>,
}

/// The tree runs, as far as the host knows.
const RUNS: u8 = 0;
/// Init has reported that it is the only process left. Init still has to take its namespaces down. That can take longer than the
/// rest of an exit, and nothing else depends on it.
const LEAVING: u8 = 1;
/// Init has ended.
const GONE: u8 = 2;
/// Init has not ended in time, and the host no longer waits for it.
const STUCK: u8 = 3;

impl Child {
    /// Needs a tokio runtime with its I/O driver. If the driver cannot register the channel, the tree is ended.
    pub(crate) fn new(channel: Channel, init: Process, meter: Meter, confined: bool) -> io::Result<Self> {
        match readiness::watch(channel, Interest::READABLE) {
            Ok(channel) => Ok(Self {
                channel,
                init,
                meter: Arc::new(meter),
                life: AtomicU8::new(RUNS),
                confined,
                killed: OnceLock::new(),
                dismissed: OnceLock::new(),
                status: OnceLock::new(),
                unsent: OnceLock::new(),
            }),
            Err(error) => {
                // The channel is closed by now, and the tree is ending.
                if confined {
                    init.kill();
                }
                init.wait(KILL_TIMEOUT);
                Err(error)
            }
        }
    }

    /// The meter of the tree's usage, which other owners may share.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Completes when every process of the tree has ended, except perhaps init. The future may be dropped, and this may
    /// be called again.
    ///
    /// Where the tree has a control group, init has ended too: the usage of a group is final only when init has left it.
    /// [`Child::reap`] then finds init gone, and holds no thread.
    ///
    /// After a kill of the tree this takes a bounded time, even if init was stopped or is kept from its work.
    pub(crate) async fn exited(&self) -> io::Result<()> {
        match self.killed.get() {
            None => tokio::select! {
                biased;
                ended = self.tree_ended() => ended?,
                error = self.send_unsent() => return error,
            },
            Some(&since) => tokio::select! {
                biased;
                ended = self.tree_ended() => ended?,
                () = self.enforce(since) => {}
            },
        }
        if self.meter.has_group() && !self.is_stuck() && self.has_reported_exit() {
            self.life.store(LEAVING, Ordering::Relaxed);
            return self.init_left().await;
        }
        Ok(())
    }

    /// Sends what the channel did not take at once. Completes only with an error.
    async fn send_unsent(&self) -> io::Result<()> {
        if let Some(unsent) = self.unsent.get() {
            unsent.send().await?;
        }
        std::future::pending().await
    }

    /// Whether init has reported that it is the only process left.
    fn has_reported_exit(&self) -> bool {
        matches!(self.channel.get_ref().peek(), Pending::Report(Report::Exited(_)))
    }

    async fn tree_ended(&self) -> io::Result<()> {
        loop {
            let mut ready = self.channel.readable().await?;
            match self.channel.get_ref().peek() {
                Pending::Report(Report::CommandEnded { .. }) => self.take_status(),
                Pending::Report(_) | Pending::Other => return Ok(()),
                Pending::Nothing => ready.clear_ready(),
                // Init ended without a report: it was killed, and its tree ended with it.
                Pending::End => return self.init.ended().await,
            }
        }
    }

    /// Stores the command's status from reports that arrived before the end of the tree.
    fn take_status(&self) {
        if let Ok(Some((Report::CommandEnded { status }, _))) = self.channel.get_ref().receive() {
            let _ = self.status.set(status);
        }
    }

    /// Lets the kernel end the tree if init does not. Completes if even the kernel has not ended it in time.
    async fn enforce(&self, since: Instant) {
        let last = since + KILL_TIMEOUT;
        let mut at = since + INIT_GRACE;
        while at < last {
            sleep_until(at).await;
            self.force();
            at = Instant::now() + INIT_GRACE;
        }
        sleep_until(last).await;
        self.abandon();
    }

    /// Lets the kernel end the tree. An init without a namespace must end the tree itself, so it is woken. Without init
    /// the rest of the tree would run on.
    fn force(&self) {
        self.meter.kill_group();
        if self.confined || self.is_leaving() {
            self.init.kill();
        } else {
            self.init.wake();
        }
    }

    fn abandon(&self) {
        let pid = self.init.pid();
        if self.life.swap(STUCK, Ordering::Relaxed) == LEAVING {
            tracing::error!(
                pid,
                "a process tree has ended, but its init does not exit: it hangs in the kernel"
            );
        } else {
            tracing::error!(
                pid,
                "a process tree was killed and does not end: it hangs in the kernel, or its init is stopped again and again"
            );
        }
    }

    /// Whether the host must still wait for init, although its tree has ended.
    pub(crate) fn is_leaving(&self) -> bool {
        self.life.load(Ordering::Relaxed) == LEAVING
    }

    /// Whether the tree was given up: it was killed, but has not ended.
    pub(crate) fn is_stuck(&self) -> bool {
        self.life.load(Ordering::Relaxed) == STUCK
    }

    /// Completes when a tree that was given up has ended, however long that takes. So a bounded wait must not include
    /// it. The future may be dropped, and this may be called again.
    pub(crate) async fn freed(&self) {
        loop {
            match timeout(RETRY_INTERVAL, self.init.ended()).await {
                Ok(Ok(())) => break,
                // The host can no longer watch it. That does not mean that it has ended.
                Ok(Err(_)) => sleep(RETRY_INTERVAL).await,
                Err(_) => {}
            }
            self.force();
        }
        self.life.store(GONE, Ordering::Relaxed);
        self.meter.close();
        tracing::warn!(
            pid = self.init.pid(),
            "a process tree that was given up has ended after all"
        );
    }

    /// Dismisses init after its report, and completes when init has ended. The future may be dropped, and this may be
    /// called again.
    pub(crate) async fn left(&self) {
        self.meter.close();
        // An error means that the runtime is going down, and then the wait on this thread is a short one.
        drop(self.init_left().await);
        self.wait_for_init();
    }

    /// Dismisses init, and completes when it has ended or was given up.
    async fn init_left(&self) -> io::Result<()> {
        self.kill();
        let since = *self.dismissed.get_or_init(Instant::now);
        tokio::select! {
            biased;
            ended = self.init.ended() => ended,
            () = self.enforce(since) => Ok(()),
        }
    }

    /// Lets init signal the command's process group. Does nothing to a tree that has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match u8::try_from(signal.as_raw()) {
            Ok(signal) => self.command(Command::Signal(signal)),
            Err(_) => Ok(()),
        }
    }

    /// Lets init send TERM to every process of the tree, including stopped ones. Does nothing to a tree that has ended.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        self.command(Command::Terminate)
    }

    fn command(&self, command: Command) -> io::Result<()> {
        let before = self.unsent.get();
        if let Some(unsent) = before.filter(|unsent| !unsent.is_empty()) {
            unsent.add(command);
            return Ok(());
        }
        match self.channel.get_ref().command(command) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let unsent = match before {
                    Some(unsent) => unsent,
                    None => {
                        let unsent = Unsent::new(self.channel.get_ref())?;
                        self.unsent.get_or_init(|| Box::new(unsent))
                    }
                };
                unsent.add(command);
                Ok(())
            }
            other => other,
        }
    }

    /// Kills the tree.
    pub(crate) fn kill(&self) {
        self.killed.get_or_init(Instant::now);
        self.channel.get_ref().cut();
    }

    /// Blocks until the tree has ended, and returns how the command ended.
    pub(crate) fn finish(&mut self) -> io::Result<RawExit> {
        loop {
            let received = self.channel.get_ref().receive()?;
            match received {
                Some((Report::CommandEnded { status }, _)) => {
                    let _ = self.status.set(status);
                }
                Some((report, _)) => return Ok(self.conclude(Some(report))),
                None => return Ok(self.conclude(None)),
            }
        }
    }

    /// Kills the rest of the tree, waits for its end, and returns how the command ended. Init may not have ended by
    /// then.
    pub(crate) fn reap(&mut self) -> RawExit {
        let begun = std::time::Instant::now();
        loop {
            match self.channel.get_ref().peek() {
                Pending::Report(Report::CommandEnded { .. }) => self.take_status(),
                // It is the last report, so it need not be removed.
                Pending::Report(report) => return self.conclude(Some(report)),
                Pending::Other | Pending::End => return self.conclude(None),
                Pending::Nothing if self.is_stuck() => return self.conclude(None),
                Pending::Nothing => {
                    self.kill();
                    if !self.channel.get_ref().wait(INIT_GRACE) {
                        self.force();
                    }
                    if begun.elapsed() > KILL_TIMEOUT {
                        self.abandon();
                    }
                }
            }
        }
    }

    fn conclude(&mut self, report: Option<Report>) -> RawExit {
        let exit = match report {
            Some(Report::Exited(exit)) => Some(exit),
            _ => None,
        };
        // The usage of a group is final only when init has left it, too. Most callers have waited for that in `exited`.
        let is_leaving = exit.is_some() && !self.meter.has_group();
        if is_leaving {
            self.life.store(LEAVING, Ordering::Relaxed);
        } else {
            self.wait_for_init();
        }
        self.meter.finish(exit.as_ref().map(usage));
        // A stuck tree keeps its group and its user.
        if self.life.load(Ordering::Relaxed) == GONE {
            self.meter.close();
        }
        let status = exit.map(|exit| exit.status).or(self.status.get().copied());
        status.map_or(KILLED_WITH_INIT, raw_exit)
    }

    /// Dismisses init, or the rest of it, and waits for its end.
    fn wait_for_init(&self) {
        self.kill();
        let begun = std::time::Instant::now();
        while !self.is_stuck() {
            if self.init.wait(INIT_GRACE) {
                self.life.store(GONE, Ordering::Relaxed);
                return;
            }
            self.force();
            if begun.elapsed() > KILL_TIMEOUT {
                self.abandon();
            }
        }
    }
}

/// Init was killed (by the kernel, out of memory). The kernel has then killed its tree, or does so as soon as it can.
const KILLED_WITH_INIT: RawExit = RawExit {
    code: None,
    signal: Some(Signal::KILL.as_raw()),
};

fn usage(exit: &Exit) -> Usage {
    Usage {
        cpu: Some(Duration::from_micros(
            exit.user_micros.saturating_add(exit.system_micros),
        )),
        peak_bytes: Some(exit.peak_bytes),
        ran_out_of_memory: false,
    }
}

fn raw_exit(status: i32) -> RawExit {
    // The layout of `waitpid` on Linux: a signal in the low seven bits, or zero there and a code in the next eight.
    let signal = status & 0x7f;
    if signal == 0 {
        RawExit {
            code: Some((status >> 8) & 0xff),
            signal: None,
        }
    } else {
        RawExit {
            code: None,
            signal: Some(signal),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Reached only if a task was dropped with its runtime, or a launch was given up. The waits are short, because the processes
        // were just killed.
        match self.life.load(Ordering::Relaxed) {
            GONE | STUCK => {}
            LEAVING => self.wait_for_init(),
            _ => {
                self.reap();
                self.wait_for_init();
            }
        }
        self.meter.close();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::future::poll_fn;
    use std::os::fd::AsFd;
    use std::pin::pin;
    use std::task::Poll;

    use capsule_init::{Config, Limits, PROTOCOL};
    use rustix::process::{Pid, kill_process};

    use super::*;
    use crate::os::init::{Handover, Init};

    fn stop(process: Process) {
        let number = i32::try_from(process.pid()).ok().and_then(Pid::from_raw);
        kill_process(number.expect("a number"), Signal::STOP).expect("it is there");
    }

    /// A command that ends at once, unconfined.
    fn started() -> Child {
        command(&["/bin/true"])
    }

    fn command(args: &[&str]) -> Child {
        let args: Vec<_> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let config = Config {
            protocol: PROTOCOL,
            programs: args[..1].to_vec(),
            args,
            env: Vec::new(),
            cwd: b".".to_vec(),
            limits: Limits::default(),
            landlock: false,
            joins: false,
            seccomp: Vec::new(),
            count_cpu: false,
            group: false,
            confinement: None,
        };
        let workspace = File::open("/").expect("a folder");
        let handover = Handover {
            workspace: workspace.as_fd(),
            landlock: None,
            injected: None,
            stdin: false,
            epolls: None,
            network: None,
        };
        let started = Init::embedded().start(config, &handover, None, None);
        started.expect("a command").child
    }

    /// However long its tree took to end.
    #[tokio::test]
    async fn b5_an_init_has_its_own_time_to_leave() {
        let mut child = started();
        child.exited().await.expect("an end");
        assert_eq!(child.reap().code, Some(0));
        assert!(child.is_leaving());
        // It cannot leave before it is forced.
        stop(child.init);
        while !child.init.is_stopped() {
            tokio::task::yield_now().await;
        }
        let long_ago = Instant::now()
            .checked_sub(KILL_TIMEOUT)
            .expect("the machine runs for longer");
        child.killed.set(long_ago).expect("it was not killed before");
        child.left().await;
        assert!(!child.is_stuck(), "it had no time");
        assert!(child.init.wait(Duration::ZERO));
    }

    /// An init without processor time reads nothing, and its channel takes a few hundred commands.
    #[tokio::test]
    async fn k1_no_signal_fails_or_is_lost_while_init_does_not_run() {
        let mut child = command(&["/bin/sleep", "1000"]);
        let init = child.init.pid();
        let number = || i32::try_from(init).ok().and_then(Pid::from_raw).expect("a number");
        kill_process(number(), Signal::STOP).expect("it is there");
        while !child.init.is_stopped() {
            tokio::task::yield_now().await;
        }
        for _ in 0..5000 {
            child.signal(Signal::STOP).expect("it is sent later");
            child.signal(Signal::CONT).expect("it is sent later");
        }
        child.signal(Signal::TERM).expect("it is sent later");
        kill_process(number(), Signal::CONT).expect("it is there");
        child.exited().await.expect("an end");
        assert_eq!(child.reap().signal, Some(Signal::TERM.as_raw()));
    }

    /// The monitor of a process reaps on a thread of the runtime.
    #[tokio::test]
    async fn b5_no_thread_waits_for_an_init_that_has_to_leave_its_group() {
        let mut child = started();
        Arc::get_mut(&mut child.meter).expect("the only one").set_has_group();
        while !child.has_reported_exit() {
            tokio::task::yield_now().await;
        }
        // It cannot leave before it is forced.
        stop(child.init);
        while !child.init.is_stopped() {
            tokio::task::yield_now().await;
        }
        {
            let mut exited = pin!(child.exited());
            let first = poll_fn(|context| Poll::Ready(exited.as_mut().poll(context))).await;
            assert!(first.is_pending(), "init is still in its group");
            exited.await.expect("an end");
        }
        assert!(child.init.wait(Duration::ZERO), "reaping would wait for it");
        assert_eq!(child.reap().code, Some(0));
        assert!(!child.is_leaving() && !child.is_stuck());
    }
}
