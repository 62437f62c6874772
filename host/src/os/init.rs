//! Starting a command, under an init of its own.
//!
//! Everything that a host must not do between fork and exec, and everything that has to be there for as long as the command
//! runs, is init's to do: a small program of which the `spawner` makes a copy for each command.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cgroup::Group;
use super::channel::Channel;
use super::child::Child;
use super::pipe;
use super::process::Process;
use super::spawner::Spawner;
use super::tree::short_text;
use super::usage::Meter;
use capsule_init::{Birth, Config, Confinement, Identity, Report, encode};

/// What starts commands.
#[derive(Debug)]
pub(crate) struct Init {
    spawner: Spawner,
    /// The last one that an init has made; hosts need the same one again and again.
    mapping: Mutex<Option<(Owners, Arc<OwnedFd>)>>,
}

/// How many inits are asked for one after the other, where each is gone before it has said that it is there.
const ATTEMPTS: usize = 3;

/// Whose files are shown as whose: what a mapping is for.
type Owners = (Identity, Identity);

/// What goes with a configuration.
#[derive(Debug)]
pub(crate) struct Handover<'a> {
    pub(crate) workspace: BorrowedFd<'a>,
    pub(crate) landlock: Option<BorrowedFd<'a>>,
    /// The content of what is injected, where anything is.
    pub(crate) injected: Option<BorrowedFd<'a>>,
    /// Whether the command's stdin is a pipe; `/dev/null` otherwise.
    pub(crate) stdin: bool,
}

/// A running command and the host's ends of its streams, which are non-blocking.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Why a command did not start. Nothing of it is left.
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

impl Init {
    /// By the program that comes with this crate.
    pub(crate) const fn embedded() -> Self {
        Self::new(None)
    }

    /// By one that the embedder has built and put somewhere.
    pub(crate) const fn at(path: PathBuf) -> Self {
        Self::new(Some(path))
    }

    const fn new(program: Option<PathBuf>) -> Self {
        Self {
            spawner: Spawner::new(program),
            mapping: Mutex::new(None),
        }
    }

    /// Starts the command that `config` speaks of, in `group` if that says so. Needs a tokio runtime with its I/O driver;
    /// blocks until the command runs or is refused.
    pub(crate) fn start(
        &self,
        mut config: Config,
        handover: &Handover<'_>,
        group: Option<Group>,
    ) -> Result<Started, StartError> {
        let streams = Streams::new(handover.stdin)?;
        let owners = config.confinement.as_ref().and_then(owners);
        let mapping = owners.and_then(|owners| self.mapping(owners));
        let birth = match &mut config.confinement {
            None => Birth::Unconfined,
            Some(confinement) => {
                confinement.mapping = mapping.is_some();
                Birth::Confined {
                    network: confinement.network,
                }
            }
        };
        let frame = encode(&config).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        // A confined tree is in its group from init on, any other from the command on.
        let (inits_group, commands_group) = match birth {
            Birth::Confined { .. } => (group.as_ref(), None),
            Birth::Unconfined => (None, group.as_ref()),
        };
        let mut descriptors: Vec<_> = streams.theirs.iter().map(AsFd::as_fd).collect();
        descriptors.push(handover.workspace);
        descriptors.extend(handover.landlock);
        descriptors.extend(handover.injected);
        descriptors.extend(mapping.as_ref().map(AsFd::as_fd));
        descriptors.extend(commands_group.map(AsFd::as_fd));

        let asked = self.ask(birth, &frame, &descriptors, inits_group);
        // Init has its own now. While the host held these, end of file would never come.
        drop(descriptors);
        let Streams {
            theirs,
            stdin,
            stdout,
            stderr,
        } = streams;
        drop(theirs);
        let (channel, init) = asked?;
        let refusal = match channel.receive() {
            Ok(Some((Report::Started { counter, mapping }, attached))) => {
                let mut descriptors = attached.descriptors.into_iter();
                let command = descriptors.next();
                let command = command.ok_or_else(|| io::Error::other("init sent too few descriptors"))?;
                let counter = counter.then(|| descriptors.next()).flatten();
                if let (true, Some(owners), Some(made)) = (mapping, owners, descriptors.next()) {
                    *self.lock() = Some((owners, Arc::new(made)));
                }
                let confined = config.confinement.is_some();
                let meter = Meter::new(init.number(), pid_of(&command)?, counter, group, confined);
                let child = Child::new(channel, init, meter)?;
                return Ok(Started {
                    child,
                    stdin,
                    stdout,
                    stderr,
                });
            }
            _ if has_run_out(group.as_ref()) => StartError::OutOfMemory,
            Ok(Some((report, _))) => StartError::Refused(report),
            Ok(None) => StartError::Host(io::Error::other("init ended without a word")),
            Err(error) => StartError::Host(error),
        };
        // With the channel goes, in a moment, whatever was started. A confined init that is stuck is ended by force, and its
        // namespace with it.
        drop(channel);
        if config.confinement.is_some() {
            init.kill();
        }
        init.wait();
        Err(refusal)
    }

    /// Has ready what the next command can be started with sooner. Blocks for as long as a small program takes to start.
    pub(crate) fn prepare(&self) {
        self.spawner.prepare();
    }

    /// Gives an init its configuration.
    ///
    /// Whoever kills the spawner, or an init that waits, may do so in the instant after it was asked. An init says that it is
    /// there before it reads anything; so where a channel ends without that, nobody has read or will read what was sent, and
    /// another can be asked.
    fn ask(
        &self,
        birth: Birth,
        frame: &[u8],
        descriptors: &[BorrowedFd<'_>],
        group: Option<&Group>,
    ) -> Result<(Channel, Process), StartError> {
        for _ in 0..ATTEMPTS {
            let channel = self.spawner.init(birth, group.map(AsFd::as_fd))?;
            // Where it fails, what is received says why.
            drop(channel.send(frame, descriptors));
            return match channel.receive() {
                Ok(Some((Report::Born { start }, attached))) => match attached.sender {
                    Some(number) => Ok((channel, Process::new(number, start))),
                    None => Err(io::Error::other("an init without a number").into()),
                },
                // Whatever else came of it.
                _ if has_run_out(group) => Err(StartError::OutOfMemory),
                Ok(Some((report, _))) => Err(StartError::Refused(report)),
                Ok(None) => continue,
                // It may still come, and read: nothing else must be started.
                Err(error) => {
                    self.spawner.give_up();
                    Err(error.into())
                }
            };
        }
        Err(io::Error::other("no init was made").into())
    }

    fn mapping(&self, wanted: Owners) -> Option<Arc<OwnedFd>> {
        let known = self.lock();
        let (owners, mapping) = known.as_ref()?;
        (*owners == wanted).then(|| Arc::clone(mapping))
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Owners, Arc<OwnedFd>)>> {
        self.mapping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_run_out(group: Option<&Group>) -> bool {
    group.is_some_and(Group::ran_out_of_memory)
}

/// Whom a workspace belongs to and whom it is shown to belong to, where that is not the same.
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

/// The number, for this process, of the process that a pidfd stands for; none once that was reaped.
fn pid_of(pidfd: &OwnedFd) -> io::Result<Option<u32>> {
    let info = short_text(&format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    Ok(info
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok()))
}
