//! Starting the command: from a copy of init to the program, with everything of init's own left behind.
//!
//! The order matters. Limits before the filter, for that may forbid to set them; Landlock before seccomp for the same
//! reason; no-new-privileges before both, which require it. The signal mask is opened last, when no signal finds anything
//! but its default.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use capsule_init::{Bytes, Config, Layer, Limits, Report, encode};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, fchdir, setrlimit, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::set_no_new_privs;

use crate::failure::At;
use crate::sys;

/// The command, from the moment that there is a process for it.
pub(crate) struct Guest {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    /// Ends empty once the program runs, and otherwise holds the frame of the report that says why it does not.
    pub(crate) verdict: OwnedFd,
}

/// The program, its arguments and its environment, as exec wants them.
pub(crate) struct Image {
    programs: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Image {
    pub(crate) fn of(config: &Config) -> Result<Self, Report> {
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
            args: strings(&config.args)?,
            env: strings(&config.env)?,
        })
    }
}

/// Goes where the command shall start: resolved once, beneath the workspace, and entered by descriptor.
pub(crate) fn enter_directory(workspace: &OwnedFd, cwd: &[u8]) -> Result<(), Report> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let refused = |errno: Errno| Report::WorkingDirectory {
        errno: errno.raw_os_error(),
    };
    // EAGAIN: something was renamed meanwhile. It goes away by itself; the bound is for a guest of the same workspace
    // that renames in a loop.
    for _ in 0..64 {
        match openat2(workspace, OsStr::from_bytes(cwd), flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened.and_then(fchdir).map_err(refused),
        }
    }
    Err(refused(Errno::AGAIN))
}

/// Starts the command, in a control group of its own or in this process's.
pub(crate) fn start(
    config: &Config,
    image: &Image,
    stdio: &[OwnedFd; 3],
    landlock: Option<&OwnedFd>,
    group: Option<&OwnedFd>,
) -> Result<Guest, Report> {
    let (verdict, ours) = pipe_with(PipeFlags::CLOEXEC).at(Layer::Process, "pipe")?;
    if let Some((pid, pidfd)) = sys::clone(0, group.map(AsFd::as_fd)).at(Layer::Process, "clone")? {
        return Ok(Guest { pid, pidfd, verdict });
    }
    let report = become_program(config, image, stdio, landlock);
    if let Ok(frame) = encode(&report) {
        // If pid 1 is gone there is nobody to tell, and this process is as good as dead.
        drop(File::from(ours).write_all(&frame));
    }
    sys::exit(127)
}

/// Returns why the program does not run.
fn become_program(config: &Config, image: &Image, stdio: &[OwnedFd; 3], landlock: Option<&OwnedFd>) -> Report {
    let args = sys::pointers(&image.args);
    let env = sys::pointers(&image.env);
    if let Err(report) = prepare(config, stdio, landlock) {
        return report;
    }
    let mut failed = Errno::NOENT;
    for program in &image.programs {
        match sys::exec(program, &args, &env) {
            Errno::NOENT | Errno::NOTDIR => {}
            // As shells do: remember it, and look further.
            Errno::ACCESS => failed = Errno::ACCESS,
            errno => {
                failed = errno;
                break;
            }
        }
    }
    Report::ExecFailed {
        errno: failed.raw_os_error(),
    }
}

fn prepare(config: &Config, [stdin, stdout, stderr]: &[OwnedFd; 3], landlock: Option<&OwnedFd>) -> Result<(), Report> {
    // A session of its own: no terminal, and a group whose number is the command's.
    setsid().at(Layer::Process, "setsid")?;
    dup2_stdin(stdin).at(Layer::Process, "stdin")?;
    dup2_stdout(stdout).at(Layer::Process, "stdout")?;
    dup2_stderr(stderr).at(Layer::Process, "stderr")?;
    // Not closed now: the pipe for the verdict is among them.
    sys::close_from(3, true).at(Layer::Process, "close_range")?;
    limit(&config.limits, config.confinement.is_some())?;
    set_no_new_privs(true).at(Layer::Identity, "no-new-privileges")?;
    if let Some(ruleset) = landlock {
        sys::landlock(ruleset.as_fd()).at(Layer::Landlock, "restrict_self")?;
    }
    if !config.seccomp.is_empty() {
        sys::seccomp(&config.seccomp).at(Layer::Seccomp, "filter")?;
    }
    sys::block_signals(false);
    Ok(())
}

fn limit(limits: &Limits, confined: bool) -> Result<(), Report> {
    // Not 0: the kernel still starts a helper that the machine has for core dumps, outside of the confinement and with
    // the memory of the guest. With 1 it makes neither that call nor a file.
    set(Resource::Core, 1, 1)?;
    if let Some(bytes) = limits.address_space {
        set(Resource::As, bytes, bytes)?;
    }
    if let Some(seconds) = limits.cpu_seconds {
        set(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    }
    if let Some(processes) = limits.processes {
        // Pid 1 is of the same user in the same namespace, and is not the guest's to pay for.
        let processes = processes.saturating_add(u64::from(confined));
        set(Resource::Nproc, processes, processes)?;
    }
    if let Some(files) = limits.open_files {
        set(Resource::Nofile, files, files)?;
    }
    Ok(())
}

/// Sets a limit, or leaves the host's own where that is lower already.
fn set(resource: Resource, soft: u64, hard: u64) -> Result<(), Report> {
    let inherited = rustix::process::getrlimit(resource);
    let lower = |limit: u64, inherited: Option<u64>| Some(inherited.map_or(limit, |it| it.min(limit)));
    let limit = Rlimit {
        current: lower(soft, inherited.maximum),
        maximum: lower(hard, inherited.maximum),
    };
    setrlimit(resource, limit).at(Layer::Limits, &format!("{resource:?}"))
}
