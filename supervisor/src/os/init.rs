//! Starts a command under an init of its own.
//!
//! Init does all work that a host must not do between fork and exec, and all work that lasts as long as the command runs. It is a
//! small program, of which the `spawner` makes a copy for each command.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cgroup::Group;
use super::channel::{Attached, Channel, IO_TIMEOUT};
use super::child::Child;
use super::epolls::EpollServer;
use super::namespaces::Namespaces;
use super::network::{Namespace, NewNetwork};
use super::pipe;
use super::process::{KILL_TIMEOUT, Process};
use super::spawner::{InitError, NewInit, Spawner};
use super::tree::{Private, short_text};
use super::usage::Meter;
use super::users::Lease;
use capsule_init::{Bound, Config, Confinement, Identity, InitKind, NetworkMode, Report, encode};

/// The launcher of commands.
#[derive(Debug)]
pub(crate) struct Init {
    spawner: Arc<Spawner>,
    /// A private network that was made in advance.
    network: Mutex<Option<NewNetwork>>,
    /// Those that inits have made, the last one used at the end; the same users are lent again and again.
    mappings: Mutex<Vec<(Owners, Arc<OwnedFd>)>>,
}

/// How many inits are tried for one command, if each ends before it has received its whole configuration.
const ATTEMPTS: usize = 3;

/// How long an init may be silent until the host looks whether it was stopped.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// How many mappings are kept; a descriptor each.
const MAPPINGS: usize = 16;

/// The owner of files and the owner that they are shown to have: the key of a mapping.
type Owners = (Identity, Identity);

/// The resources that are sent with a configuration.
#[derive(Debug)]
pub(crate) struct Handover<'a> {
    pub(crate) workspace: BorrowedFd<'a>,
    pub(crate) landlock: Option<BorrowedFd<'a>>,
    /// The content of the injected files, if any.
    pub(crate) injected: Option<BorrowedFd<'a>>,
    /// Whether the command's stdin is a pipe; `/dev/null` otherwise.
    pub(crate) stdin: bool,
    /// The maker of the tree's epoll instances, if the configuration asks for one.
    pub(crate) epolls: Option<&'a EpollServer>,
    /// The private network, if the configuration asks for one.
    pub(crate) network: Option<&'a Namespace>,
}

/// A running command and the host's ends of its streams, which are non-blocking.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// A resource that the tree shares with the host against the policy's intention.
    pub(crate) bound: Option<Bound>,
    /// Whether the tree's watches are counted for the user that was lent to it.
    pub(crate) is_counted_apart: bool,
    /// Whether it runs as its workspace's owner, though a user was lent to it.
    pub(crate) as_owner: bool,
}

/// The reason why a command did not start. No process of it is left.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The host could not make ready: descriptors, processes or memory ran out.
    Host(io::Error),
    /// Init said why.
    Refused(Report),
    /// The memory that the tree may have did not suffice to start it.
    OutOfMemory,
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl From<InitError> for StartError {
    fn from(error: InitError) -> Self {
        match error {
            InitError::Host(error) => Self::Host(error),
            InitError::Refused(report) => Self::Refused(report),
        }
    }
}

impl Init {
    /// By the program that comes with this crate.
    pub(crate) fn embedded() -> Self {
        Self::new(None)
    }

    /// An init that the embedder has built and installed at `path`.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self::new(Some(path))
    }

    fn new(program: Option<PathBuf>) -> Self {
        Self {
            spawner: Arc::new(Spawner::new(program)),
            network: Mutex::new(None),
            mappings: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn program(&self) -> Option<&Path> {
        self.spawner.program()
    }

    /// Starts the command that `config` speaks of, in `group` if that says so; `lease` is given back at its end. Needs a
    /// tokio runtime with its I/O driver; blocks until the command runs or is refused.
    pub(crate) fn start(
        &self,
        mut config: Config,
        handover: &Handover<'_>,
        group: Option<Group>,
        lease: Option<Lease>,
    ) -> Result<Started, StartError> {
        let streams = Streams::new(handover.stdin)?;
        let owners = config.confinement.as_ref().and_then(owners);
        let mapping = owners.and_then(|owners| self.mapping(owners));
        let kind = match &mut config.confinement {
            None => InitKind::Unconfined,
            Some(confinement) => {
                confinement.mapping = mapping.is_some();
                self.spawner.expect(confinement);
                InitKind::Confined {
                    network: confinement.network,
                }
            }
        };
        let namespaces = handover.network.map(Namespace::namespaces);
        let joined = namespaces.and_then(|namespaces| namespaces.to_join());
        config.joins = joined.is_some();
        let inside = namespaces.filter(|_| joined.is_none());
        let frame = encode(&config).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        // A confined tree is in its group from init on, any other from the command on.
        let (inits_group, commands_group) = match kind {
            InitKind::Confined { .. } => (group.as_ref(), None),
            InitKind::Unconfined => (None, group.as_ref()),
        };
        let mut descriptors: Vec<_> = streams.theirs.iter().map(AsFd::as_fd).collect();
        descriptors.push(handover.workspace);
        descriptors.extend(handover.landlock);
        descriptors.extend(joined);
        descriptors.extend(handover.injected);
        descriptors.extend(mapping.as_ref().map(AsFd::as_fd));
        descriptors.extend(commands_group.map(AsFd::as_fd));

        let asked = self.ask(kind, inside, &frame, &descriptors, inits_group);
        // Init has its own now. While the host held these, end of file would never come.
        drop(descriptors);
        let Streams {
            theirs,
            stdin,
            stdout,
            stderr,
        } = streams;
        drop(theirs);
        let NewInit { channel, process: init } = asked?;
        let refusal = match hear(&channel, init) {
            Ok(Some((
                Report::Started {
                    command,
                    counter,
                    mapping,
                    epolls,
                    as_owner,
                    bound,
                },
                attached,
            ))) => {
                let mut descriptors = attached.descriptors.into_iter();
                let mut next = |sent: bool| if sent { descriptors.next() } else { None };
                let (command, counter, mapping) = (next(command), next(counter), next(mapping));
                let is_counted_apart =
                    next(epolls).is_some_and(|listener| hand_over(&listener, handover, lease.as_ref()));
                if let (Some(owners), Some(made)) = (owners, mapping) {
                    self.keep(owners, Arc::new(made));
                }
                let confined = config.confinement.is_some();
                let pid = match command {
                    Some(command) => pid_of(&command).ok().flatten(),
                    None => first_child(init.pid()),
                };
                let private = Private {
                    tmp: confined,
                    network: config
                        .confinement
                        .as_ref()
                        .is_some_and(|it| it.network != NetworkMode::Host),
                    list: handover.network.and_then(Namespace::list).map(Arc::downgrade),
                };
                let meter = Meter::new(init.pid(), pid, counter, group, lease, private);
                let child = Child::new(channel, init, meter, confined)?;
                return Ok(Started {
                    child,
                    stdin,
                    stdout,
                    stderr,
                    bound,
                    is_counted_apart,
                    as_owner,
                });
            }
            _ if has_run_out(group.as_ref()) => StartError::OutOfMemory,
            Ok(Some((report, _))) => StartError::Refused(report),
            Ok(None) => StartError::Host(io::Error::other("init ended without a report")),
            Err(error) => StartError::Host(error),
        };
        // The end of the channel ends the started processes in a moment. A confined init that is stuck is killed, and the kernel
        // ends its namespace with it.
        drop(channel);
        if config.confinement.is_some() {
            init.kill();
        } else {
            init.wake();
        }
        if !init.wait(KILL_TIMEOUT) {
            tracing::error!(
                pid = init.pid(),
                "the init of a command that could not be started does not exit"
            );
        }
        Err(refusal)
    }

    /// Prepares the first command of a kind, so that it starts sooner, and with [`NetworkMode::Private`] its network. Blocks for as
    /// long as a small program takes to start.
    pub(crate) fn begin(&self, network: NetworkMode) {
        if network == NetworkMode::Private {
            self.make_network_ready();
        }
        let ready = self
            .ready_network()
            .as_ref()
            .map(|ready| Arc::clone(ready.namespace.namespaces()));
        // A root host's inits wait outside.
        let inside = ready.filter(|ready| ready.to_join().is_none());
        self.spawner.begin(InitKind::Confined { network }, inside.as_ref());
    }

    /// Prepares an init, so that the next command starts sooner, and with `network` a private network for the next owner. Blocks
    /// for as long as a small program takes to start.
    pub(crate) fn prepare(&self, network: bool) {
        if network {
            self.make_network_ready();
        }
        let next = self
            .ready_network()
            .as_ref()
            .map(|ready| Arc::clone(ready.namespace.namespaces()));
        self.spawner.prepare(next.as_ref());
    }

    /// A private network in which no process runs. Blocks until it is made, if none was made in advance.
    pub(crate) fn network(&self) -> Result<NewNetwork, StartError> {
        let ready = self.ready_network().take();
        match ready.filter(|network| network.namespace.is_usable()) {
            Some(ready) => Ok(ready),
            None => Namespace::make(&self.spawner).map_err(StartError::from),
        }
    }

    /// Takes back a private network in which no process of a guest has run.
    pub(crate) fn return_network(&self, network: NewNetwork) {
        *self.ready_network() = Some(network);
    }

    fn make_network_ready(&self) {
        if self.ready_network().is_none() {
            // If it cannot be had now, the next command will say why.
            let made = Namespace::make(&self.spawner).ok();
            *self.ready_network() = made;
        }
    }

    fn ready_network(&self) -> MutexGuard<'_, Option<NewNetwork>> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an init its configuration.
    ///
    /// An init can be killed just after it reported that it is ready. If the configuration cannot be sent to its end, this init has
    /// started nothing, and another init can be asked.
    fn ask(
        &self,
        kind: InitKind,
        inside: Option<&Arc<Namespaces>>,
        frame: &[u8],
        descriptors: &[BorrowedFd<'_>],
        group: Option<&Group>,
    ) -> Result<NewInit, StartError> {
        for _ in 0..ATTEMPTS {
            let new_init = match self.spawner.init(kind, inside, group.map(AsFd::as_fd)) {
                Ok(new_init) => new_init,
                // The group's limit is the reason, whatever error it led to.
                Err(_) if has_run_out(group) => return Err(StartError::OutOfMemory),
                Err(error) => return Err(error.into()),
            };
            match new_init.channel.send(frame, descriptors) {
                Ok(()) => return Ok(new_init),
                Err(_) if has_run_out(group) => return Err(StartError::OutOfMemory),
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::other("each init was killed before it could receive the command").into())
    }

    fn mapping(&self, wanted: Owners) -> Option<Arc<OwnedFd>> {
        let mut known = self.lock();
        let at = known.iter().position(|(owners, _)| *owners == wanted)?;
        let used = known.remove(at);
        let mapping = Arc::clone(&used.1);
        known.push(used);
        Some(mapping)
    }

    fn keep(&self, owners: Owners, mapping: Arc<OwnedFd>) {
        let mut known = self.lock();
        if known.len() >= MAPPINGS {
            known.remove(0);
        }
        known.push((owners, mapping));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Owners, Arc<OwnedFd>)>> {
        self.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The report of init on the command; none if init has ended. Waits for as long as a program may take to be opened.
fn hear(channel: &Channel, init: Process) -> io::Result<Option<(Report, Attached)>> {
    let begun = Instant::now();
    while !channel.wait(STOP_CHECK_INTERVAL) {
        if init.is_stopped() {
            return Err(io::Error::other(
                "the init of the command was stopped by a process of this machine that may signal it",
            ));
        }
        if begun.elapsed() >= IO_TIMEOUT {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    channel.receive()
}

/// The pid of the first child that a process made, of those that live.
fn first_child(pid: u32) -> Option<u32> {
    let children = short_text(&format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

fn has_run_out(group: Option<&Group>) -> bool {
    group.is_some_and(Group::ran_out_of_memory)
}

/// Has a tree's epoll instances made. If that fails, the tree has none, as on a kernel without them: the command already runs.
fn hand_over(listener: &OwnedFd, handover: &Handover<'_>, lease: Option<&Lease>) -> bool {
    let Some((epolls, lease)) = handover.epolls.zip(lease) else {
        return false;
    };
    let served = epolls.serve(lease.uid(), listener);
    if let Err(error) = &served {
        tracing::error!(%error, "a command cannot make epoll instances: the process that makes them is gone");
    }
    served.is_ok()
}

/// The owner of a workspace, and the owner that it is shown to have, if they differ.
fn owners(confinement: &Confinement) -> Option<Owners> {
    confinement.workspace_owner.zip(confinement.identity)
}

/// The pipes of a command.
struct Streams {
    /// Its stdin, stdout and stderr.
    theirs: [OwnedFd; 3],
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Streams {
    /// Our ends do not block.
    fn new(has_stdin: bool) -> io::Result<Self> {
        let (stdout, their_stdout) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        let (stdout, stderr) = (OwnedFd::from(stdout), OwnedFd::from(stderr));
        let (their_stdin, stdin) = if has_stdin {
            let (theirs, ours) = io::pipe()?;
            (theirs.into(), Some(OwnedFd::from(ours)))
        } else {
            (File::open("/dev/null")?.into(), None)
        };
        for fd in [Some(&stdout), Some(&stderr), stdin.as_ref()].into_iter().flatten() {
            pipe::set_nonblocking(fd.as_fd())?;
        }
        Ok(Self {
            theirs: [their_stdin, their_stdout.into(), their_stderr.into()],
            stdin,
            stdout,
            stderr,
        })
    }
}

/// The pid, in the namespace of this process, of the process that a pidfd stands for; none after that process was reaped.
fn pid_of(pidfd: &OwnedFd) -> io::Result<Option<u32>> {
    let info = short_text(&format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    Ok(info
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok()))
}
