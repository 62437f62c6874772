//! Starts the command: makes a process from init, removes init's own state from it, and executes the program.
//!
//! The order matters. Limits come before the filter, because the filter may deny setting them. Landlock comes before seccomp for
//! the same reason. No-new-privileges comes before both, because both require it. The signal mask is emptied last, when every
//! signal has its default action.
//!
//! From [`become_program`] on, the new process runs in init's memory unless it has a control group (see `vfork`). So everything is
//! prepared before, and no code there may allocate.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use capsule_init::{Bytes, Config, Layer, Limits, Report};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, fchdir, setrlimit, setsid};
use rustix::thread::set_no_new_privs;
use serde::{Deserialize, Serialize};

use crate::ceilings;
use crate::failure::{At, failure};
use crate::sys::{self, Filter, Strings};
use crate::vfork::{self, Stack, Started};

/// The command, until init knows whether its program runs.
pub(crate) type Guest = Started<Image>;

/// Everything that a process needs to become the program; descriptors are given by number.
pub(crate) struct Image {
    programs: Vec<CString>,
    args: Strings,
    env: Strings,
    stdio: [RawFd; 3],
    landlock: Option<RawFd>,
    filter: Filter,
    limits: Limits,
    confined: bool,
}

impl Image {
    pub(crate) fn of(config: &Config, stdio: &[OwnedFd; 3], landlock: Option<&OwnedFd>) -> Result<Self, Report> {
        let strings = |bytes: &[Bytes]| {
            bytes
                .iter()
                .map(|bytes| CString::new(bytes.as_slice()))
                .collect::<Result<_, _>>()
                .map_err(|_| Errno::INVAL)
                .at(Layer::Protocol, "a string with NUL")
        };
        Ok(Self {
            programs: strings(&config.programs)?,
            args: Strings::new(strings(&config.args)?),
            env: Strings::new(strings(&config.env)?),
            stdio: stdio.each_ref().map(AsRawFd::as_raw_fd),
            landlock: landlock.map(AsRawFd::as_raw_fd),
            filter: Filter::of(&config.seccomp),
            limits: config.limits.clone(),
            confined: config.confinement.is_some(),
        })
    }
}

/// Enters the command's working directory: it is resolved once, beneath the workspace, and entered by descriptor.
pub(crate) fn enter_directory(workspace: &OwnedFd, cwd: &[u8]) -> Result<(), Report> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let refused = |errno: Errno| Report::WorkingDirectory {
        errno: errno.raw_os_error(),
    };
    // EAGAIN: a file was renamed meanwhile. A new try succeeds once the renames stop. The bound is for a guest of the same
    // workspace that renames in a loop.
    for _ in 0..64 {
        match openat2(workspace, OsStr::from_bytes(cwd), flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened.and_then(fchdir).map_err(refused),
        }
    }
    Err(refused(Errno::AGAIN))
}

/// Starts the command, in a control group of its own or in this process's.
pub(crate) fn start(image: Image, stack: Stack, group: Option<&OwnedFd>) -> Result<Guest, Report> {
    vfork::start(image, become_program, stack, group.map(AsFd::as_fd))
        .map_err(|(errno, call)| failure(Layer::Process, errno, call))
}

/// Decodes the last report of the new process.
pub(crate) fn verdict(words: &[u8]) -> Result<(), Report> {
    if words.is_empty() {
        return Ok(());
    }
    Err(match postcard::from_bytes(words) {
        Ok(Refused::Setup { layer, errno, subject }) => Report::SetupFailed {
            layer,
            errno,
            subject: subject.into(),
        },
        Ok(Refused::Exec { errno }) => Report::ExecFailed { errno },
        Err(_) => failure(Layer::Process, Errno::PROTO, "verdict"),
    })
}

/// The reason why the program does not run: a report, in a form that needs no allocation.
#[derive(Serialize, Deserialize)]
enum Refused<'a> {
    Setup { layer: Layer, errno: i32, subject: &'a str },
    Exec { errno: i32 },
}

/// Says where a call failed.
fn at<T>(outcome: Result<T, Errno>, layer: Layer, subject: &'static str) -> Result<T, Refused<'static>> {
    outcome.map_err(|errno| Refused::Setup {
        layer,
        errno: errno.raw_os_error(),
        subject,
    })
}

/// Becomes the program. If this returns, it has reported why the program does not run.
fn become_program(image: &Image, words: RawFd) {
    let refused = match prepare(image) {
        Ok(()) => exec(image),
        Err(refused) => refused,
    };
    // Larger than any report.
    let mut buffer = [0; 128];
    if let Ok(said) = postcard::to_slice(&refused, &mut buffer) {
        // If init has ended, no process reads this, and the kernel ends this process too.
        sys::write(words, said);
    }
}

fn exec(image: &Image) -> Refused<'static> {
    let mut failed = Errno::NOENT;
    for program in &image.programs {
        match sys::exec(program, &image.args, &image.env) {
            Errno::NOENT | Errno::NOTDIR => {}
            // As in a shell: remember this error, and try the next path.
            Errno::ACCESS => failed = Errno::ACCESS,
            errno => {
                failed = errno;
                break;
            }
        }
    }
    Refused::Exec {
        errno: failed.raw_os_error(),
    }
}

fn prepare(image: &Image) -> Result<(), Refused<'static>> {
    // A new session, which has no terminal and whose process group has the command's number.
    at(setsid(), Layer::Process, "setsid")?;
    for (from, (to, name)) in image.stdio.into_iter().zip(STREAMS) {
        at(sys::dup2(from, to), Layer::Process, name)?;
    }
    // Marked to be closed by exec and not closed now, because the pipe for the last report is among them.
    at(sys::close_from(3, true), Layer::Process, "close_range")?;
    ceilings::usual_priority();
    limit(&image.limits, image.confined)?;
    at(set_no_new_privs(true), Layer::Identity, "no-new-privileges")?;
    if let Some(ruleset) = image.landlock {
        at(sys::landlock(ruleset), Layer::Landlock, "restrict_self")?;
    }
    at(image.filter.install(), Layer::Seccomp, "filter")?;
    sys::block_signals(false);
    Ok(())
}

const STREAMS: [(RawFd, &str); 3] = [(0, "stdin"), (1, "stdout"), (2, "stderr")];

fn limit(limits: &Limits, confined: bool) -> Result<(), Refused<'static>> {
    // With 0 the kernel still starts the machine's helper for core dumps, which runs outside of the confinement and gets the
    // memory of the guest. With 1 it starts no helper and writes no file.
    set(Resource::Core, "core", 1, 1)?;
    if let Some(bytes) = limits.address_space {
        set(Resource::As, "address space", bytes, bytes)?;
    }
    if let Some(seconds) = limits.cpu_seconds {
        set(Resource::Cpu, "cpu", seconds, seconds.saturating_add(1))?;
    }
    if let Some(processes) = limits.processes {
        // Pid 1 has the same user in the same namespace and is counted too, so the limit is one higher.
        let processes = processes.saturating_add(u64::from(confined));
        set(Resource::Nproc, "processes", processes, processes)?;
    }
    if let Some(files) = limits.open_files {
        set(Resource::Nofile, "open files", files, files)?;
    }
    if confined {
        for (resource, name, most) in ceilings::LIMITS {
            set(resource, name, most, most)?;
        }
    }
    Ok(())
}

/// Sets a limit, or keeps the host's own limit if that is lower.
fn set(resource: Resource, name: &'static str, soft: u64, hard: u64) -> Result<(), Refused<'static>> {
    let inherited = rustix::process::getrlimit(resource);
    let lower = |limit: u64, inherited: Option<u64>| Some(inherited.map_or(limit, |it| it.min(limit)));
    let limit = Rlimit {
        current: lower(soft, inherited.maximum),
        maximum: lower(hard, inherited.maximum),
    };
    at(setrlimit(resource, limit), Layer::Limits, name)
}
