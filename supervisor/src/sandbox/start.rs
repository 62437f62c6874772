//! Turns a launch into init's configuration, and init's report into the launcher's result. Both launchers share this code.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use capsule_init::{Config, Confinement, Instruction, Limits, PROTOCOL, Report};
use rustix::io::Errno;

use super::environment::Environment;
use super::injection::{self, Injection, UNCONFINED};
use super::launcher::{Launch, LaunchError, Launched};
use super::program;
use super::unavailable::UnavailableLayer;
use super::visibility::Visibility;
use crate::os::cgroup::Group;
use crate::os::epolls::EpollServer;
use crate::os::init::{Handover, Init, StartError};
use crate::os::network::Namespace;
use crate::os::users::Lease;

/// The constraints on a tree.
pub(crate) struct Constraints<'a> {
    pub(crate) confinement: Option<Confinement>,
    pub(crate) landlock: Option<BorrowedFd<'a>>,
    pub(crate) seccomp: Vec<Instruction>,
    pub(crate) limits: Limits,
    pub(crate) group: Option<Group>,
    /// The parts of the host that the tree sees; all parts if this is none.
    pub(crate) visibility: Option<Visibility<'a>>,
    /// The kernel's user of this tree: the tree runs as this user, or only has its resources counted for it.
    pub(crate) lease: Option<Lease>,
    /// The process that makes the epoll instances that are counted for the lease.
    pub(crate) epolls: Option<&'a EpollServer>,
    pub(crate) network: Option<&'a Namespace>,
}

pub(crate) fn start(
    init: &Init,
    environment: &Environment,
    launch: Launch,
    mut constraints: Constraints<'_>,
) -> Result<Launched, LaunchError> {
    let Launch {
        owner: _,
        scope: _,
        network: _,
        label: _,
        cmd,
        args,
        env,
        workspace,
        cwd,
        stdin,
        limits: _,
        injections,
    } = launch;
    let programs = program::candidates(&cmd, environment.path(), workspace.path())?;
    match &mut constraints.confinement {
        Some(confinement) => confinement.injections = injections.iter().map(Injection::for_init).collect(),
        None if injections.is_empty() => {}
        None => return Err(LaunchError::Injection(UNCONFINED.into())),
    }
    let injected = injection::snapshot(&injections).map_err(LaunchError::Host)?;
    drop(injections);
    let config = Config {
        protocol: PROTOCOL,
        programs: programs
            .iter()
            .map(|path| path.as_os_str().as_bytes().to_owned())
            .collect(),
        args: std::iter::once(cmd.clone())
            .chain(args)
            .map(String::into_bytes)
            .collect(),
        env: environment
            .for_child(env)
            .into_iter()
            .map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat())
            .collect(),
        cwd: cwd.clone().into_bytes(),
        limits: constraints.limits,
        landlock: constraints.landlock.is_some(),
        // Set later, when the descriptors are known.
        joins: false,
        seccomp: constraints.seccomp,
        // A control group counts the time itself.
        count_cpu: constraints.group.is_none(),
        group: constraints.group.is_some(),
        confinement: constraints.confinement,
    };
    let handover = Handover {
        workspace: workspace.handle().as_fd(),
        landlock: constraints.landlock,
        injected: injected.as_ref().map(AsFd::as_fd),
        stdin,
        epolls: constraints.epolls,
        network: constraints.network,
    };
    match init.start(config, &handover, constraints.group, constraints.lease) {
        Ok(started) => Ok(started.into()),
        Err(StartError::Host(error)) => Err(LaunchError::Host(error)),
        Err(StartError::OutOfMemory) => Err(LaunchError::Limit(
            "max-memory-bytes: too little to start the command".into(),
        )),
        Err(StartError::Refused(report)) => {
            let missing = || constraints.visibility?.missing(&cmd, &programs, &workspace, &cwd);
            Err(refusal(&cmd, report, missing))
        }
    }
}

/// The launch error if a private network could not be made.
pub(crate) fn no_network(error: StartError) -> LaunchError {
    match error {
        StartError::Host(error) => LaunchError::Host(error),
        StartError::OutOfMemory => LaunchError::Host(std::io::ErrorKind::OutOfMemory.into()),
        StartError::Refused(report) => refusal("", report, || None),
    }
}

/// The launch error for a report of init (contract S6). `missing` names the part of the program that does not exist.
fn refusal(cmd: &str, report: Report, missing: impl FnOnce() -> Option<String>) -> LaunchError {
    match report {
        Report::ExecFailed { errno } => {
            let errno = Errno::from_raw_os_error(errno);
            if errno == Errno::NOENT {
                LaunchError::NotFound(missing().unwrap_or_else(|| format!("{cmd}, or the interpreter that it names")))
            } else if errno == Errno::ACCESS || errno == Errno::PERM {
                LaunchError::PermissionDenied(cmd.into())
            } else {
                LaunchError::ExecFailed(format!("{cmd}: {errno}"))
            }
        }
        Report::WorkingDirectory { errno } => LaunchError::WorkingDirectory {
            escape: Errno::from_raw_os_error(errno) == Errno::XDEV,
        },
        Report::Injection { at, errno } => {
            let at = String::from_utf8_lossy(&at);
            LaunchError::Injection(match Errno::from_raw_os_error(errno) {
                Errno::XDEV => format!(
                    "{at} is in a folder of the host's, where no place can be made for it: choose one in a folder that \
                     the command has to itself, such as /etc, /run or /tmp"
                ),
                Errno::EXIST => format!("{at} exists and is not a file: choose another path"),
                Errno::NOTDIR => {
                    format!("a component of {at} is a link or not a folder: choose a path without links")
                }
                errno => format!("{at}: {errno}"),
            })
        }
        Report::SetupFailed { layer, errno, subject } => LaunchError::Confinement(UnavailableLayer::by_kernel(
            layer,
            &subject,
            Errno::from_raw_os_error(errno),
        )),
        Report::Ready { .. }
        | Report::Network { .. }
        | Report::Sockets
        | Report::Started { .. }
        | Report::CommandEnded { .. }
        | Report::Exited(_) => LaunchError::Host(std::io::Error::other("init sent an unexpected report")),
    }
}
