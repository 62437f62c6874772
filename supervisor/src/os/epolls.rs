//! The process that makes epoll instances for the trees of an ordinary user's host, from the host's side (contract B8).
//!
//! The process runs the program of init, and init's `epolls.rs` explains its work. It needs a user namespace with user ids other
//! than the host's, and only `newuidmap` may write such a map. `newuidmap` is a program of the system that runs as root. No guest
//! can open or trace it, and it checks the range against `/etc/subuid` itself.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, send, sendmsg};

use super::{reap, spawner};

/// The program that writes the map.
pub(crate) const NEWUIDMAP: &str = "newuidmap";

/// The longest time for the start of the process, and for `newuidmap`. A name service that hangs must not delay a
/// launch for longer.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// The server process. It is started when it is first needed, and again if it has ended.
#[derive(Debug)]
pub(crate) struct EpollServer {
    /// The same program as the spawner's.
    program: Option<PathBuf>,
    /// The users for which it can count.
    range: Range<u32>,
    running: Mutex<Option<Running>>,
}

impl EpollServer {
    pub(crate) fn new(program: Option<PathBuf>, range: Range<u32>) -> Self {
        Self {
            program,
            range,
            running: Mutex::new(None),
        }
    }

    /// Starts the process unless it runs. Blocks for some milliseconds the first time.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let mut running = self.lock();
        if running.as_mut().is_some_and(Running::is_there) {
            return Ok(());
        }
        *running = Some(Running::start(self.program.as_deref(), &self.range)?);
        Ok(())
    }

    /// Lets the process answer a tree's calls, which it receives from `listener`, with instances that are counted for
    /// `user`.
    pub(crate) fn serve(&self, user: u32, listener: &OwnedFd) -> io::Result<()> {
        let mut held = self.lock();
        let Some(running) = &*held else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let served = running.serve(user, listener);
        if served.is_err() {
            // The process has ended, or is stopped and will never serve a tree: the next tree gets another process.
            *held = None;
        }
        served
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process. Dropping this ends it.
#[derive(Debug)]
struct Running {
    socket: OwnedFd,
    child: Child,
}

impl Running {
    fn start(program: Option<&Path>, range: &Range<u32>) -> io::Result<Self> {
        let (socket, child) = spawner::start(program, Some(capsule_init::EPOLLS), |_| Ok(()))?;
        let running = Self { socket, child };
        // The process has its namespace.
        if !is_ready(&running.socket) || recv(&running.socket, &mut [0], RecvFlags::empty())?.1 == 0 {
            return Err(io::Error::other("no user namespace could be made"));
        }
        map(running.child.id(), range)?;
        send(&running.socket, &[0], SendFlags::NOSIGNAL)?;
        Ok(running)
    }

    fn is_there(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn serve(&self, user: u32, listener: &OwnedFd) -> io::Result<()> {
        let bytes = user.to_le_bytes();
        let descriptors = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        attached.push(SendAncillaryMessage::ScmRights(&descriptors));
        loop {
            match sendmsg(
                &self.socket,
                &[IoSlice::new(&bytes)],
                &mut attached,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Err(Errno::INTR) => {}
                other => return Ok(other.map(drop)?),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process has no state to clean up, and SIGKILL ends it at once even if it is stopped.
        let told = self.child.kill();
        reap::end(&mut self.child, told);
    }
}

/// Lets `newuidmap` map each number of the range to itself. So no id of that namespace is root: a change from or to
/// root would remove the capabilities of the process.
fn map(pid: u32, range: &Range<u32>) -> io::Result<()> {
    let count = range.end.saturating_sub(range.start);
    let (pid, first, count) = (pid.to_string(), range.start.to_string(), count.to_string());
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
    let mut command = Command::new(NEWUIDMAP);
    command
        .args([&pid, &first, &first, &count])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    match reap::reap(&mut child, START_TIMEOUT) {
        Ok(status) if status.success() => return Ok(()),
        Ok(_) => {}
        Err(error) => {
            let told = child.kill();
            reap::end(&mut child, told);
            return Err(error);
        }
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        // The output so far is enough.
        drop(stderr.take(512).read_to_string(&mut said));
    }
    Err(io::Error::other(said.trim().to_owned()))
}

fn is_ready(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let limit = Timespec::try_from(START_TIMEOUT).unwrap_or_default();
    poll(&mut fds, Some(&limit)).is_ok_and(|ready| ready > 0)
}
