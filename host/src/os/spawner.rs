//! The process that makes inits, from the host's side.
//!
//! Starting a program costs a host by its size. Forking would copy the page tables, tens of milliseconds for much memory;
//! posix_spawn, which the standard library uses as long as the program is a path and neither a `pre_exec` hook nor a user id
//! is asked for, does not, but copies the descriptors, milliseconds for thousands of processes. So a host starts one
//! program once, which stays small, and has that make an init for each command. And since an init can wait for its
//! configuration, one does whenever there was time to make it: what that takes, most of all a network namespace, is done
//! while nobody waits for it.
//!
//! What a command has of the host without being asked (limits, priority, umask) is what the host had when its first command
//! was started; but a host that has become another user gets another spawner.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use capsule_init::{Birth, Report};
use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};
use rustix::process::{Gid, Uid, getegid, geteuid};

use super::channel::{Channel, PATIENCE};
use super::memfd;
use super::process::{Process, is_stopped};
use super::tree::short_text;

/// The program, as the build made it.
static PROGRAM: &[u8] = include_bytes!(env!("CAPSULE_INIT_PROGRAM"));

/// What makes inits, from the first one on.
#[derive(Debug)]
pub(crate) struct Spawner {
    /// One that the embedder has built and put somewhere; otherwise the one that comes with this crate.
    program: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    running: Option<Running>,
    /// What was last asked for and can wait: not in a control group, which is made for one command.
    usual: Option<Birth>,
    /// An init that waits.
    spare: Option<(Birth, Newborn)>,
}

/// An init that is there, and has been told nothing.
#[derive(Debug)]
pub(crate) struct Newborn {
    pub(crate) channel: Channel,
    pub(crate) process: Process,
}

/// Why there is no init.
#[derive(Debug)]
pub(crate) enum Unborn {
    /// The host could not ask for it, or nothing came of that.
    Host(io::Error),
    /// The kernel does not make such a process; the report says why.
    Refused(Report),
}

impl From<io::Error> for Unborn {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

/// How long each init that is asked for may take to say that it is there. Nothing was told to it by then, so that another
/// one can be asked for.
const PATIENCES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(24)];

/// How long the spawner may be silent until the host looks whether it was stopped.
const SILENCE: Duration = Duration::from_millis(100);

impl Spawner {
    pub(crate) const fn new(program: Option<PathBuf>) -> Self {
        Self {
            program,
            state: Mutex::new(State::NEW),
        }
    }

    /// An init that is ready for its configuration: born as said, and in a control group. Blocks until one is.
    ///
    /// One that was killed or stopped is passed over, and so is a spawner.
    pub(crate) fn init(&self, birth: Birth, group: Option<BorrowedFd<'_>>) -> Result<Newborn, Unborn> {
        if group.is_none() {
            let mut state = self.lock();
            state.usual = Some(birth);
            let spare = state.spare.take_if(|(born, _)| *born == birth);
            drop(state);
            match spare {
                Some((_, spare)) if spare.process.is_stopped() => spare.process.kill(),
                Some((_, spare)) if spare.channel.is_open() => return Ok(spare),
                Some(_) | None => {}
            }
        }
        self.make(birth, group)
    }

    /// Has an init made for the next command, if one can wait for it and none does. Blocks until it is there.
    pub(crate) fn prepare(&self) {
        let usual = {
            let state = self.lock();
            state.usual.filter(|_| state.spare.is_none())
        };
        let Some(birth) = usual else { return };
        // If it cannot be had now, the next command will say why.
        let Ok(made) = self.make(birth, None) else { return };
        let mut state = self.lock();
        if state.spare.is_none() {
            state.spare = Some((birth, made));
        }
    }

    fn make(&self, birth: Birth, group: Option<BorrowedFd<'_>>) -> Result<Newborn, Unborn> {
        for patience in PATIENCES {
            let channel = self.lock().order(self.program.as_deref(), birth, group)?;
            if !self.is_heard(&channel, patience) {
                continue;
            }
            match channel.receive()? {
                Some((Report::Born { start }, attached)) => {
                    let number = attached
                        .sender
                        .ok_or_else(|| io::Error::other("an init without a number"))?;
                    let process = Process::new(number, start);
                    return Ok(Newborn { channel, process });
                }
                Some((report, _)) => return Err(Unborn::Refused(report)),
                // It was killed, or its spawner was before it made it.
                None => {}
            }
        }
        Err(io::Error::other("no init was made").into())
    }

    /// Waits for the first word of an init. A spawner that was stopped in the meantime is ended.
    fn is_heard(&self, channel: &Channel, patience: Duration) -> bool {
        let begun = Instant::now();
        loop {
            if channel.wait(SILENCE.min(patience)) {
                return true;
            }
            if self.is_stopped() {
                self.give_up();
                return false;
            }
            if begun.elapsed() >= patience {
                return false;
            }
        }
    }

    fn is_stopped(&self) -> bool {
        let state = self.lock();
        let Some(running) = &state.running else { return false };
        short_text(&format!("/proc/{}/stat", running.child.id())).is_ok_and(|stat| is_stopped(&stat))
    }

    /// Ends the process, which has not made what it was asked for. The next command gets another one.
    fn give_up(&self) {
        *self.lock() = State::NEW;
    }

    /// A host that has become somebody else does not start commands as who it was.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let user = (geteuid(), getegid());
        if state.running.as_ref().is_some_and(|running| running.user != user) {
            *state = State::NEW;
        }
        state
    }
}

impl State {
    const NEW: Self = Self {
        running: None,
        usual: None,
        spare: None,
    };

    fn order(&mut self, program: Option<&Path>, birth: Birth, group: Option<BorrowedFd<'_>>) -> io::Result<Channel> {
        let (ours, inits) = Channel::pair()?;
        let descriptors: Vec<_> = [inits.as_fd()].into_iter().chain(group).collect();
        if let Some(running) = &self.running
            && running.order(birth, &descriptors).is_ok()
        {
            return Ok(ours);
        }
        // Not started yet, or somebody killed it: then it has not heard of this order.
        self.running = None;
        let running = Running::start(program)?;
        running.order(birth, &descriptors)?;
        self.running = Some(running);
        Ok(ours)
    }
}

/// The process. Dropping it ends it, and nothing that it has made.
#[derive(Debug)]
struct Running {
    socket: OwnedFd,
    child: Child,
    /// Who it runs as.
    user: (Uid, Gid),
}

impl Running {
    fn start(program: Option<&Path>) -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&ours, Timeout::Send, Some(PATIENCE))?;
        let (path, file);
        match program {
            Some(program) => path = program.to_owned(),
            None => {
                // A sealed file in memory: nothing to install, and nothing that could be exchanged. In the child its
                // descriptor survives until exec.
                file = memfd::sealed("capsule-init", [PROGRAM])?;
                path = by_descriptor(&file);
            }
        }
        #[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
        let mut command = Command::new(path);
        command
            .arg0("capsule-init")
            .env_clear()
            .process_group(0)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self {
            child: command.spawn()?,
            socket: ours,
            user: (geteuid(), getegid()),
        })
    }

    fn order(&self, birth: Birth, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let byte = [birth.to_byte()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        attached.push(SendAncillaryMessage::ScmRights(descriptors));
        loop {
            match sendmsg(&self.socket, &[IoSlice::new(&byte)], &mut attached, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                other => return Ok(other.map(drop)?),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has nothing to put in order, and is gone in a moment also where somebody has stopped it.
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            tracing::error!(%error, "a child was reaped by somebody else");
        }
    }
}

fn by_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawner_of(spawner: &Spawner) -> u32 {
        let state = spawner.state.lock().expect("no panic");
        state.running.as_ref().expect("it runs").child.id()
    }

    #[test]
    fn b4_a_host_that_has_become_another_user_gets_another_spawner() {
        let spawner = Spawner::new(None);
        let first = spawner.init(Birth::Unconfined, None).expect("an init");
        let before = spawner_of(&spawner);
        drop(spawner.init(Birth::Unconfined, None).expect("an init"));
        assert_eq!(spawner_of(&spawner), before);

        spawner.prepare();
        if let Some(running) = &mut spawner.state.lock().expect("no panic").running {
            running.user.0 = Uid::from_raw(running.user.0.as_raw() + 1);
        }
        drop(spawner.init(Birth::Unconfined, None).expect("an init"));
        assert_ne!(spawner_of(&spawner), before);
        assert!(
            spawner.state.lock().expect("no panic").spare.is_none(),
            "nor an init of before"
        );
        // What was made before goes on.
        assert!(first.channel.is_open());
    }
}
