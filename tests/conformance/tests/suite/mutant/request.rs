//! What becomes of the request of a spawn, and of its refusal.
//!
//! Where the real fault would harm the machine that runs the tests (an unconfined child that sends signals to every process), a
//! change makes the child see what it would see then.

use std::collections::BTreeSet;
use std::path::Path;

use capsule_host::ProcessError;
use capsule_host::bindings::astrid::process1_1_0::host::{EnvVar, OverflowPolicy, SpawnRequest};
use capsule_host::supervisor::Error;

use super::errors::{Answer, invalid, is};
use super::served::Served;

/// The kinds of spawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    Run,
    Background,
    Persistent,
}

/// Puts text before a script.
fn prefix(request: &mut SpawnRequest, text: &str) {
    if let (true, Some(script)) = (request.cmd == "sh", request.args.get_mut(1)) {
        script.insert_str(0, text);
    }
}

/// Has a shell start the program, after this script.
fn through_shell(request: &mut SpawnRequest, script: &str) {
    let program = std::mem::replace(&mut request.cmd, "sh".into());
    let before = ["-c".into(), format!("{script}; exec \"$0\" \"$@\""), program];
    request.args.splice(0..0, before);
}

/// The request with nothing but its command.
fn bare(request: &SpawnRequest) -> SpawnRequest {
    SpawnRequest {
        cmd: request.cmd.clone(),
        args: request.args.clone(),
        stdin: None,
        env: Vec::new(),
        cwd: None,
        limits: None,
        file_injections: Vec::new(),
        label: None,
        keep_stdin_open: None,
        overflow: None,
        log_ring_bytes: None,
        max_lifetime_ms: None,
        idle_timeout_ms: None,
        exit_retention_ms: None,
    }
}

impl Served<'_> {
    /// What becomes of a request.
    pub(super) fn request(&self, tier: Tier, request: &mut SpawnRequest) -> Answer<()> {
        let env = |key: &str, value: &str| EnvVar {
            key: key.into(),
            value: value.into(),
        };
        match self.shared.change {
            "the shape of a command is not checked" => request.cmd.retain(|letter| !letter.is_control()),
            "variables are left out" => request.env.clear(),
            "a key that comes twice is left out" => {
                let mut keys = BTreeSet::new();
                request.env.retain(|var| keys.insert(var.key.clone()));
            }
            "a reserved name is left out" => request.env.retain(|var| var.key != "NODE_OPTIONS"),
            "an absolute folder in the workspace is allowed" => {
                let cwd = request.cwd.as_deref().map(Path::new);
                if cwd.is_some_and(|cwd| cwd == self.shared.workspace) {
                    request.cwd = None;
                }
            }
            "a folder that is missing is the workspace" => {
                let workspace = &self.shared.workspace;
                request.cwd = request.cwd.take().filter(|cwd| workspace.join(cwd).exists());
            }
            "NUL is left out" => {
                request
                    .args
                    .iter_mut()
                    .for_each(|arg| arg.retain(|letter| letter != '\0'));
                request
                    .env
                    .iter_mut()
                    .for_each(|var| var.value.retain(|letter| letter != '\0'));
            }
            "too many arguments are cut" => {
                request.args.truncate(10);
                request.env.truncate(4);
            }
            "variables above 256 are left out" => request.env.truncate(256),
            "HOME is the host's" => request.env.insert(0, env("HOME", ".")),
            "a variable of the host's is passed on" => request.env.push(env("SECRET", "x")),
            "a bare command is sought in the workspace" if request.cmd == "planted" => {
                request.cmd = "bin/planted".into();
            }
            "another spelling is granted too" if request.cmd == "cat" => request.cmd = "/bin/cat".into(),
            "the working directory is ignored" => request.cwd = None,
            "a folder that is exchanged leads out" if request.cwd.is_some() => prefix(request, "cd /;"),
            "the gate comes first" if request.cmd == "ungranted" => return Err(Error::CapabilityDenied.into()),
            "a quota comes before the working directory" if request.cwd.is_some() => return Err(Error::Quota.into()),
            "a refused spawn takes a slot" if self.shared.memory().refused > 1 => return Err(Error::Quota.into()),
            "a slot is given back late" if self.shared.memory().waited => return Err(Error::Quota.into()),
            "a prelude is cut" => {
                if let Some(stdin) = &mut request.stdin {
                    stdin.truncate(4 << 20);
                }
            }
            "the last byte of a prelude is lost" => {
                if let Some(stdin) = &mut request.stdin {
                    stdin.pop();
                }
            }
            "a prelude is lost" => request.stdin = None,
            "stdin is always kept open" => request.keep_stdin_open = Some(true),
            "stdin is never kept open" => request.keep_stdin_open = None,
            "all kinds of spawn heed a lifetime of 0" if request.max_lifetime_ms == Some(0) => return Err(invalid()),
            "the size of a ring is ignored" => request.log_ring_bytes = None,
            "overflow always drops the oldest" => request.overflow = Some(OverflowPolicy::DropOldest),
            "stdin is always a pipe" => drop(request.stdin.get_or_insert_default()),
            "spawn-background heeds the command only" if tier == Tier::Background => *request = bare(request),
            "spawn-persistent heeds the command only" if tier == Tier::Persistent => *request = bare(request),
            "a file that is too large is cut" => {
                for file in &mut request.file_injections {
                    file.content.truncate(8 << 20);
                }
            }
            "a file is cut to 1000 bytes" => {
                for file in &mut request.file_injections {
                    file.content.truncate(1000);
                }
            }
            "files above 128 are left out" => request.file_injections.truncate(128),
            "a file takes the place of a variable" if !request.file_injections.is_empty() => request.env.clear(),
            "both streams share a ring" => prefix(request, "exec 2>&1;"),
            "injected files are left out" => request.file_injections.clear(),
            "a lifetime is half as long" => request.max_lifetime_ms = request.max_lifetime_ms.map(|ms| ms / 2),
            "a time of 0 is none" => {
                request.max_lifetime_ms = request.max_lifetime_ms.filter(|ms| *ms > 0);
                request.idle_timeout_ms = request.idle_timeout_ms.filter(|ms| *ms > 0);
            }
            "an idle timeout is half as long" => request.idle_timeout_ms = request.idle_timeout_ms.map(|ms| ms / 2),
            "a call in flight is idle" => request.max_lifetime_ms = request.idle_timeout_ms,
            "a retention is half as long" => request.exit_retention_ms = request.exit_retention_ms.map(|ms| ms / 2),
            "a retention is ignored" => request.exit_retention_ms = None,
            "limits are ignored" => request.limits = None,
            "the limit of open files is ignored" => {
                if let Some(limits) = &mut request.limits {
                    limits.max_open_files = None;
                }
            }
            "the limit of processes is ignored" => {
                if let Some(limits) = &mut request.limits {
                    limits.max_pids = None;
                }
            }
            "a tree has more memory than its limit" if request.limits.take().is_some() => {
                prefix(request, "for i in 1 2 3 4 5 6 7 8; do echo >> had; done; exit 77;");
            }
            "a child sees another's processes" if tier == Tier::Run => {
                prefix(request, "sh -c 'sleep 1000; true' conformance-other & ");
            }
            "a child can write to the system" => prefix(request, "touch() { :; };"),
            "a child has all capabilities" | "a child may gain privileges" => {
                prefix(request, "grep() { printf 'Any:\\t1ff\\n'; }; ");
            }
            "a child has a descriptor of the host's" => through_shell(request, "exec 7</dev/null"),
            "a child ignores a signal" => through_shell(request, "trap '' USR1"),
            _ => {}
        }
        Ok(())
    }

    /// What becomes of the error of a spawn.
    pub(super) fn refused(&self, error: ProcessError) -> ProcessError {
        self.shared.memory().refused += 1;
        let kind = |kind| is(&error, kind);
        match self.shared.change {
            "a bad shape is denied" if kind("invalid-input") => Error::CapabilityDenied.into(),
            "what cannot be executed is not found" if kind("unknown(permission-denied)") => {
                Error::NotFound("changed".into()).into()
            }
            "a format that is unknown is not found" if kind("unknown(exec-failed)") => {
                Error::NotFound("changed".into()).into()
            }
            "a spawn that is cancelled has timed out" if kind("cancelled") => Error::WaitTimeout.into(),
            _ => error,
        }
    }
}
