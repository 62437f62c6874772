//! The host's side of the spawner, the process that makes inits.
//!
//! The larger a host is, the longer it takes to start a program. A fork copies the page tables, which takes tens of milliseconds
//! with much memory. posix_spawn copies no page tables, but copies the descriptors, which takes milliseconds with thousands of
//! processes. (The standard library uses posix_spawn as long as the program is a path and neither a `pre_exec` hook nor a user id
//! is requested.) So a host starts one program once, the spawner, which stays small and makes an init for each command. An init
//! can also wait for its configuration. So if there is time, the spawner makes one init in advance, and the slow parts, above all
//! the network namespace, are made while no command waits.
//!
//! A command inherits the limits, priority and umask that the host had when its first command was started. A host that changes its
//! user gets a new spawner, and an init that was made before the change is not used (contract B8).

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use capsule_init::{AHEAD, Confinement, Expected, INSIDE, InitKind, LEAVE, Report, encode};
use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};
use rustix::process::{getegid, geteuid, getgid, getgroups, getuid};

use super::channel::{Attached, Channel, IO_TIMEOUT};
use super::memfd;
use super::namespaces::Namespaces;
use super::process::Process;
use super::reap;
use super::tree::text;

/// The program, as the build made it.
static PROGRAM: &[u8] = include_bytes!(env!("CAPSULE_INIT_PROGRAM"));

/// The maker of inits: starts the spawner when the first init is needed.
#[derive(Debug)]
pub(crate) struct Spawner {
    /// The program that the embedder has built and installed; otherwise the program that comes with this crate.
    program: Option<PathBuf>,
    /// Held while the process starts and while it takes an order, which may take long.
    running: Mutex<Option<Running>>,
    /// Held for a moment, also by tasks that must not block.
    state: Mutex<State>,
}

/// The preparation for the next command.
#[derive(Debug)]
struct State {
    /// The kind of the last init that could have been made in advance. An init in a control group cannot, because its group is made
    /// for one command.
    usual: Option<Usual>,
    /// The view of the last confined command, which is most likely the view of the next one.
    expected: Option<Expected>,
    /// An init that waits.
    spare: Option<Spare>,
}

/// The kind of init that is made in advance, and the private network to make it in.
#[derive(Clone, Debug)]
struct Usual {
    kind: InitKind,
    inside: Option<Weak<Namespaces>>,
}

/// An init that waits for its configuration, and the conditions that decide which command can use it.
#[derive(Debug)]
struct Spare {
    kind: InitKind,
    /// The private network that it was made in.
    inside: Option<u64>,
    user: User,
    new_init: NewInit,
}

/// The identity of a process, as far as a program that it starts inherits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// Real and effective.
    uids: [u32; 2],
    gids: [u32; 2],
    /// In the order that the kernel keeps them in.
    groups: Vec<u32>,
}

/// An init that runs and has not received a configuration.
#[derive(Debug)]
pub(crate) struct NewInit {
    pub(crate) channel: Channel,
    pub(crate) process: Process,
}

/// The reason why no init was made.
#[derive(Debug)]
pub(crate) enum InitError {
    /// The host could not ask for an init, or the spawner made none.
    Host(io::Error),
    /// The kernel does not make such a process; the report says why.
    Refused(Report),
}

impl From<io::Error> for InitError {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

/// How long each requested init may take to report that it is ready. It has received nothing by then, so another one can be
/// requested.
const PATIENCES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(24)];

/// How long the spawner may be silent until the host looks whether it was stopped.
const SILENCE: Duration = Duration::from_millis(100);

impl Spawner {
    pub(crate) const fn new(program: Option<PathBuf>) -> Self {
        Self {
            program,
            running: Mutex::new(None),
            state: Mutex::new(State::NEW),
        }
    }

    pub(crate) fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// Returns an init that is ready for its configuration, of this kind and in this control group. Blocks until an init is ready.
    ///
    /// An init that was killed or stopped is replaced by another one, and so is a spawner.
    pub(crate) fn init(
        &self,
        kind: InitKind,
        inside: Option<&Arc<Namespaces>>,
        group: Option<BorrowedFd<'_>>,
    ) -> Result<NewInit, InitError> {
        if group.is_none() {
            let mut state = self.lock()?;
            state.usual = Some(Usual {
                kind,
                inside: inside.map(Arc::downgrade),
            });
            let id = inside.map(|network| network.id);
            let spare = state.spare.take_if(|spare| spare.kind == kind && spare.inside == id);
            drop(state);
            match spare.map(|spare| spare.new_init) {
                Some(spare) if spare.process.is_stopped() => spare.process.kill(),
                Some(spare) if spare.channel.is_open() => return Ok(spare),
                Some(_) | None => {}
            }
        }
        let Spare { new_init, .. } = self.make(kind, inside.map(|network| &**network), group, 0)?;
        Ok(new_init)
    }

    /// Has the next init that waits prepare for a command like this one.
    pub(crate) fn expect(&self, confinement: &Confinement) {
        let expected = &mut self.locked().expected;
        if !expected.as_ref().is_some_and(|expected| expected.is_of(confinement)) {
            *expected = Some(Expected::of(confinement));
        }
    }

    /// Has an init of this kind made for the first command, in this private network if there is one. Blocks until the init is ready.
    pub(crate) fn begin(&self, kind: InitKind, inside: Option<&Arc<Namespaces>>) {
        if let Ok(mut state) = self.lock() {
            state.usual.get_or_insert_with(|| Usual {
                kind,
                inside: inside.map(Arc::downgrade),
            });
        }
        self.prepare(inside);
    }

    /// Has an init made for the next command, if an init of this kind can wait for it and none waits already. Blocks until the init
    /// is ready.
    ///
    /// An ordinary user's init is made in a private network: the one of the last command, or `next` if that has ended.
    pub(crate) fn prepare(&self, next: Option<&Arc<Namespaces>>) {
        let Ok(mut state) = self.lock() else { return };
        let Some(Usual { kind, inside }) = state.usual.clone() else {
            return;
        };
        let inside = match inside.map(|network| network.upgrade().filter(|network| !network.has_ended())) {
            Some(None) if next.is_none() => return,
            Some(last) => last.or_else(|| next.cloned()),
            None => None,
        };
        let id = inside.as_ref().map(|network| network.id);
        if state
            .spare
            .as_ref()
            .is_some_and(|spare| spare.kind == kind && spare.inside == id)
        {
            return;
        }
        // One that the next command could not use keeps no other from waiting.
        let unfit = state.spare.take();
        drop(state);
        drop(unfit);
        let expected = match kind {
            InitKind::Confined { .. } => self
                .locked()
                .expected
                .as_ref()
                .and_then(|expected| encode(expected).ok()),
            InitKind::Unconfined => None,
        };
        let expected = expected.and_then(|frame| memfd::sealed("expected", [&*frame]).ok());
        // If it cannot be had now, the next command will say why.
        if let Ok(made) = self.make(kind, inside.as_deref(), expected.as_ref().map(AsFd::as_fd), AHEAD) {
            self.keep(made, inside.as_deref());
        }
    }

    /// Has an init wait that was made for it.
    fn keep(&self, made: Spare, inside: Option<&Namespaces>) {
        let Ok(mut state) = self.lock() else { return };
        // A network that ends later drops it; one that has ended by now would not.
        let has_ended = inside.is_some_and(Namespaces::has_ended);
        if state.spare.is_none() && !has_ended {
            state.spare = Some(made);
        }
    }

    /// `ahead` is [`AHEAD`] if no command waits for the init, and `with` is then the expected view. Otherwise `with` is a control
    /// group.
    fn make(
        &self,
        kind: InitKind,
        inside: Option<&Namespaces>,
        with: Option<BorrowedFd<'_>>,
        ahead: u8,
    ) -> Result<Spare, InitError> {
        let (mut order, mut descriptors) = (kind.to_byte() | ahead, Vec::new());
        if let Some(network) = inside {
            order |= INSIDE;
            descriptors = network.in_order();
        }
        descriptors.extend(with);
        let Answer {
            report,
            attached,
            user,
            channel,
        } = self.answer(order, &descriptors)?;
        let Report::Ready { start } = report else {
            return Err(InitError::Refused(report));
        };
        let number = attached
            .sender
            .ok_or_else(|| io::Error::other("an init without a pid"))?;
        let process = Process::new(number, start);
        Ok(Spare {
            kind,
            inside: inside.map(|network| network.id),
            user,
            new_init: NewInit { channel, process },
        })
    }

    /// The answer of a process that does one order and ends.
    pub(super) fn ask(&self, order: u8, descriptors: &[BorrowedFd<'_>]) -> Result<(Report, Attached, User), InitError> {
        let answer = self.answer(order, descriptors)?;
        Ok((answer.report, answer.attached, answer.user))
    }

    /// The first report of the process that the spawner makes for this order.
    fn answer(&self, order: u8, descriptors: &[BorrowedFd<'_>]) -> Result<Answer, InitError> {
        for patience in PATIENCES {
            let (channel, user) = self.order(order, descriptors)?;
            if !self.is_heard(&channel, patience) {
                continue;
            }
            // None: it was killed, or its spawner was before it made it.
            if let Some((report, attached)) = channel.receive()? {
                return Ok(Answer {
                    report,
                    attached,
                    user,
                    channel,
                });
            }
        }
        Err(io::Error::other("the spawner has made no process").into())
    }

    /// Ends the init that waits in this private network.
    pub(super) fn forget(&self, network: u64) {
        let spare = self.locked().spare.take_if(|spare| spare.inside == Some(network));
        drop(spare);
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
        let running = self.running().as_ref().map(|running| running.process);
        running.is_some_and(|process| process.is_stopped())
    }

    /// Ends the process, which has not answered the request. The next command gets another one.
    fn give_up(&self) {
        *self.running() = None;
        *self.locked() = State::NEW;
    }

    /// Drops what was prepared for another user if the host has changed its user: a host must not start commands as its former user. This includes an init that was requested before the change and became ready after it.
    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.locked();
        let user = User::of_this_thread()?;
        if state.spare.as_ref().is_some_and(|spare| spare.user != user) {
            *state = State::NEW;
        }
        Ok(state)
    }

    /// The channel to the process that was asked for, and the user of that process. A spawner of another user is replaced.
    fn order(&self, order: u8, with: &[BorrowedFd<'_>]) -> io::Result<(Channel, User)> {
        let (ours, inits) = Channel::pair()?;
        let descriptors: Vec<_> = [inits.as_fd()].into_iter().chain(with.iter().copied()).collect();
        let mut running = self.running();
        let this = User::of_this_thread()?;
        if let Some(running) = running.as_ref().filter(|running| running.user == this)
            && running.send(order, &descriptors).is_ok()
        {
            return Ok((ours, running.user.clone()));
        }
        // The process was not started yet, or was killed and has not received this request.
        *running = None;
        let started = Running::start(self.program.as_deref(), order, &descriptors)?;
        let user = started.user.clone();
        *running = Some(started);
        Ok((ours, user))
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first report of a process that the spawner made.
struct Answer {
    report: Report,
    attached: Attached,
    user: User,
    channel: Channel,
}

impl State {
    const NEW: Self = Self {
        usual: None,
        expected: None,
        spare: None,
    };
}

/// The spawner's process. Dropping it ends the spawner, and leaves the inits that it has made.
#[derive(Debug)]
struct Running {
    socket: OwnedFd,
    child: Child,
    process: Process,
    /// The user of the process, as the kernel reports it: the host may become another user while the process starts.
    user: User,
}

impl Running {
    /// Starts the process, which finds an order when it begins: this thread may get a processor only long after it.
    fn start(program: Option<&Path>, order: u8, with: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let (socket, mut child) = start(program, None, |socket| send(socket, order, with))?;
        let found = Process::of_child(child.id()).and_then(|process| Ok((process, User::of(child.id())?)));
        match found {
            Ok((process, user)) => Ok(Self {
                socket,
                child,
                process,
                user,
            }),
            Err(error) => {
                // It is new, and can only be this user's.
                let told = child.kill();
                reap::end(&mut child, told);
                Err(error)
            }
        }
    }

    fn send(&self, byte: u8, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(&self.socket, byte, descriptors)
    }
}

fn send(socket: &OwnedFd, byte: u8, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let byte = [byte];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(4))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        attached.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(&byte)], &mut attached, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return Ok(other.map(drop)?),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process has no state to clean up, and SIGKILL ends it at once even if it is stopped. If this host is no longer a user
        // who may kill it, the host asks it to leave: at the end of its socket it would end the inits that it has made.
        let told = self.child.kill().or_else(|_| self.send(LEAVE, &[]));
        reap::end(&mut self.child, told);
    }
}

/// Starts init's program, as the spawner or in the role that `argument` names. Also returns this end of the socket that is the
/// program's standard input. `before` is called with it when the program has not been started yet.
pub(super) fn start(
    program: Option<&Path>,
    argument: Option<&str>,
    before: impl FnOnce(&OwnedFd) -> io::Result<()>,
) -> io::Result<(OwnedFd, Child)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&ours, Timeout::Send, Some(IO_TIMEOUT))?;
    before(&ours)?;
    let (path, file);
    match program {
        Some(program) => path = program.to_owned(),
        None => {
            // A sealed file in memory: no file has to be installed, and no process can replace the program. In the child its
            // descriptor survives until exec.
            file = memfd::sealed("capsule-init", [PROGRAM])?;
            path = by_descriptor(&file);
        }
    }
    #[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
    let mut command = Command::new(path);
    command
        .arg0("capsule-init")
        .args(argument)
        .env_clear()
        .process_group(0)
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok((ours, command.spawn()?))
}

impl User {
    /// Whether a process of this user is what this process would start.
    pub(super) fn is_current(&self) -> bool {
        Self::of_this_thread().is_ok_and(|user| user == *self)
    }

    pub(super) fn is_root(&self) -> bool {
        self.uids[1] == 0
    }

    /// The identity of this thread, and of every other thread, because the C library changes all of them together.
    fn of_this_thread() -> io::Result<Self> {
        Ok(Self {
            uids: [getuid(), geteuid()].map(|uid| uid.as_raw()),
            gids: [getgid(), getegid()].map(|gid| gid.as_raw()),
            groups: getgroups()?.into_iter().map(|gid| gid.as_raw()).collect(),
        })
    }

    /// The identity of a process.
    fn of(pid: u32) -> io::Result<Self> {
        let status = text(format!("/proc/{pid}/status"))?;
        let numbers = |name: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace()
                .map(|number| number.parse().ok())
                .collect()
        };
        let pair = |name| numbers(name)?.first_chunk().copied();
        let user = || {
            Some(Self {
                uids: pair("Uid:")?,
                gids: pair("Gid:")?,
                groups: numbers("Groups:")?,
            })
        };
        user().ok_or_else(|| io::Error::other("the kernel does not report the user of a process"))
    }
}

fn by_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use capsule_init::NetworkMode;

    use super::*;

    fn spawner_of(spawner: &Spawner) -> u32 {
        let running = spawner.running.lock().expect("no panic");
        running.as_ref().expect("it runs").child.id()
    }

    #[test]
    fn b4_b8_a_host_that_has_become_another_user_gets_another_spawner() {
        let spawner = Spawner::new(None);
        // An init that a spawner would kill when it sees its host end. Not tested on a machine that cannot make such a process.
        let first = spawner.init(
            InitKind::Confined {
                network: NetworkMode::Host,
            },
            None,
            None,
        );
        let first = first
            .or_else(|_| spawner.init(InitKind::Unconfined, None, None))
            .expect("an init");
        let before = spawner_of(&spawner);
        drop(spawner.init(InitKind::Unconfined, None, None).expect("an init"));
        assert_eq!(spawner_of(&spawner), before);

        spawner.prepare(None);
        as_another_user(|| {
            drop(spawner.init(InitKind::Unconfined, None, None).expect("an init"));
            assert_ne!(spawner_of(&spawner), before);
            assert!(spawner.locked().spare.is_none(), "nor an init of before");
            assert!(
                !Path::new(&format!("/proc/{before}")).exists(),
                "the spawner of before was reaped"
            );
            // The init that was made before still runs.
            assert!(first.channel.is_open());
            assert!(!first.process.wait(Duration::ZERO));
        });
    }

    #[test]
    fn b8_an_init_that_was_asked_for_by_another_user_is_never_used() {
        let spawner = Spawner::new(None);
        drop(spawner.init(InitKind::Unconfined, None, None).expect("an init"));
        // The steps of `prepare`, with a host that becomes another user between its request and the answer.
        let made = spawner.make(InitKind::Unconfined, None, None, AHEAD).expect("an init");
        let before = made.new_init.process;
        as_another_user(|| {
            spawner.keep(made, None);
            for _ in 0..2 {
                let next = spawner.init(InitKind::Unconfined, None, None).expect("an init");
                assert_ne!(next.process.pid(), before.pid());
                let is = User::of(next.process.pid()).expect("it runs");
                assert_eq!(is, User::of_this_thread().expect("a user"));
            }
            assert!(before.wait(IO_TIMEOUT), "nothing holds it any more");
        });
    }

    #[test]
    fn b8_who_a_process_is_is_told_by_the_kernel() {
        let this = User::of_this_thread().expect("a user");
        assert_eq!(User::of(std::process::id()).expect("proc"), this);
    }

    /// Does it on a thread that is another user to the kernel, which has users for threads. Not where this user cannot become
    /// another.
    fn as_another_user(what: impl FnOnce() + Send) {
        use rustix::process::{Gid, Uid};
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

        if !geteuid().is_root() {
            println!("skipped: only root becomes another user");
            return;
        }
        std::thread::scope(|scope| {
            let (uid, gid) = (Uid::from_raw(4243), Gid::from_raw(4243));
            let other = scope.spawn(move || {
                set_thread_groups(&[]).expect("no groups");
                set_thread_res_gid(gid, gid, gid).expect("another group");
                set_thread_res_uid(uid, uid, uid).expect("another user");
                what();
            });
            other.join().expect("as another user");
        });
    }
}
