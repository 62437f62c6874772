//! A guest's request for a process, and the checks that need only the request (contract S1, S7, T1, T2).

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use super::error::{Error, invalid};
use super::injection::{self, FileInjection, InjectionView};
use super::variables::{is_name, is_reserved};
use super::{Limits, Overflow, Tier};
use crate::sandbox::ResourceLimits;

const CMD_MAX: usize = 4 * 1024;
const ENV_ENTRIES_MAX: usize = 256;
const ARGS_AND_ENV_MAX: usize = 1024 * 1024;

/// A request to start a command. The fields have the meaning of the interface's `spawn-request`.
#[derive(Clone, Debug, Default)]
pub struct SpawnRequest {
    /// A bare name, which is looked up in the passthrough `PATH`, or a path.
    pub cmd: String,
    /// The arguments, without the program's own name.
    pub args: Vec<String>,
    /// Bytes to write to stdin first; end of file follows them unless stdin is kept open.
    pub stdin: Option<Vec<u8>>,
    /// Variables besides the passthrough.
    pub env: Vec<(String, String)>,
    /// The working directory, relative to the workspace. The default is the workspace itself.
    pub cwd: Option<String>,
    /// Resource limits. A limit that cannot be enforced refuses the spawn.
    pub limits: Option<ResourceLimits>,
    /// The files to inject (J1).
    pub file_injections: Vec<FileInjection>,
    /// A name for users and for `list`; persistent only.
    pub label: Option<String>,
    /// Whether stdin stays open for `write-stdin`.
    pub keep_stdin_open: bool,
    /// The treatment of a full ring; persistent only.
    pub overflow: Overflow,
    /// The size of each stream's ring in bytes; persistent only.
    pub log_ring_bytes: Option<u32>,
    /// The time after which it is ended; persistent only.
    pub max_lifetime: Option<Duration>,
    /// The time without a call after which it is ended; persistent only.
    pub idle_timeout: Option<Duration>,
    /// The time for which the id and the output outlive the exit; persistent only.
    pub exit_retention: Option<Duration>,
}

/// The parts of a request that the embedder's gate sees (contract S4): never the values of variables, stdin, or the
/// content of a file.
#[derive(Clone, Debug)]
pub struct CommandView<'a> {
    /// The command as spelled in the request.
    pub cmd: &'a str,
    /// Its arguments.
    pub args: &'a [String],
    /// The working directory as spelled in the request.
    pub cwd: Option<&'a str>,
    /// The names of the variables that the request sets.
    pub env_keys: Vec<&'a str>,
    /// The files that it injects, with their hashes.
    pub injections: Vec<InjectionView<'a>>,
}

impl SpawnRequest {
    pub(crate) fn view(&self) -> CommandView<'_> {
        CommandView {
            cmd: &self.cmd,
            args: &self.args,
            cwd: self.cwd.as_deref(),
            env_keys: self.env.iter().map(|(key, _)| key.as_str()).collect(),
            injections: self.file_injections.iter().map(FileInjection::view).collect(),
        }
    }

    /// Checks the shape of the request, in the order of contract S4.
    pub(crate) fn check(&self, tier: Tier, workspace: &Path, limits: &Limits) -> Result<(), Error> {
        self.check_command()?;
        self.check_env()?;
        let bytes = self
            .args
            .iter()
            .map(String::len)
            .chain(self.env.iter().map(|(key, value)| key.len() + value.len()))
            .chain(
                self.file_injections
                    .iter()
                    .filter_map(FileInjection::pointer)
                    .map(str::len),
            );
        if bytes.fold(0usize, usize::saturating_add) > ARGS_AND_ENV_MAX {
            return invalid("args and env hold more than 1 MiB together");
        }
        if self
            .stdin
            .as_ref()
            .is_some_and(|stdin| stdin.len() > limits.prelude_max)
        {
            return Err(Error::TooLarge);
        }
        injection::check(&self.file_injections, &self.env, workspace, limits)?;
        if tier == Tier::Persistent {
            for (name, time) in [
                ("max-lifetime-ms", self.max_lifetime),
                ("idle-timeout-ms", self.idle_timeout),
            ] {
                if time == Some(Duration::ZERO) {
                    return invalid(&format!("{name} is 0"));
                }
            }
        }
        Ok(())
    }

    fn check_command(&self) -> Result<(), Error> {
        if self.cmd.is_empty() {
            return invalid("cmd is empty");
        }
        if self.cmd.len() > CMD_MAX {
            return invalid("cmd is longer than 4 KiB");
        }
        if self.cmd.chars().any(char::is_control) {
            return invalid("cmd holds a control character");
        }
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return invalid("an argument holds NUL");
        }
        if self.cwd.as_ref().is_some_and(|cwd| cwd.contains('\0')) {
            return invalid("cwd holds NUL");
        }
        Ok(())
    }

    fn check_env(&self) -> Result<(), Error> {
        if self.env.len() > ENV_ENTRIES_MAX {
            return invalid("env has more than 256 entries");
        }
        let mut seen = HashSet::new();
        for (key, value) in &self.env {
            if !is_name(key) {
                return invalid("an env key is not a name ([A-Za-z_][A-Za-z0-9_]*)");
            }
            if !seen.insert(key) {
                return invalid(&format!("the env key {key} is given twice"));
            }
            if is_reserved(key) {
                return invalid(&format!("the env key {key} is reserved"));
            }
            if value.contains('\0') {
                return invalid(&format!("the value of the env key {key} holds NUL"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = Box<dyn FnOnce(&mut SpawnRequest)>;

    fn request(change: impl FnOnce(&mut SpawnRequest)) -> Result<(), Error> {
        let mut request = SpawnRequest {
            cmd: "true".into(),
            ..SpawnRequest::default()
        };
        change(&mut request);
        request.check(Tier::Persistent, Path::new("/w"), &Limits::default())
    }

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn s1_bad_shapes_are_invalid_input() {
        let keys = |count: usize| (0..count).map(|i| (format!("K{i}"), String::new())).collect();
        let refused: Vec<(&str, Change)> = vec![
            ("empty cmd", Box::new(|r| r.cmd.clear())),
            ("long cmd", Box::new(|r| r.cmd = "x".repeat(4097))),
            ("NUL in cmd", Box::new(|r| r.cmd = "a\0b".into())),
            ("newline in cmd", Box::new(|r| r.cmd = "a\nb".into())),
            ("C1 control in cmd", Box::new(|r| r.cmd = "a\u{85}b".into())),
            ("NUL in an arg", Box::new(|r| r.args = vec!["a".into(), "\0".into()])),
            ("NUL in a value", Box::new(|r| r.env = env(&[("A", "\0")]))),
            ("empty key", Box::new(|r| r.env = env(&[("", "1")]))),
            ("digit first", Box::new(|r| r.env = env(&[("1A", "1")]))),
            ("= in a key", Box::new(|r| r.env = env(&[("A=B", "1")]))),
            ("a key beyond ASCII", Box::new(|r| r.env = env(&[("Ä", "1")]))),
            (
                "twice",
                Box::new(|r| r.env = env(&[("A", "1"), ("B", "1"), ("A", "1")])),
            ),
            ("PATH", Box::new(|r| r.env = env(&[("PATH", "/")]))),
            ("LD_PRELOAD", Box::new(|r| r.env = env(&[("LD_PRELOAD", "x.so")]))),
            ("DYLD_x", Box::new(|r| r.env = env(&[("DYLD_x", "x")]))),
            ("BASH_ENV", Box::new(|r| r.env = env(&[("BASH_ENV", "x")]))),
            ("ENV", Box::new(|r| r.env = env(&[("ENV", "x")]))),
            ("NODE_OPTIONS", Box::new(|r| r.env = env(&[("NODE_OPTIONS", "x")]))),
            ("257 variables", Box::new(move |r| r.env = keys(257))),
            ("over 1 MiB", Box::new(|r| r.args = vec!["x".repeat(1024 * 1024 + 1)])),
            ("lifetime of 0", Box::new(|r| r.max_lifetime = Some(Duration::ZERO))),
            ("idle time of 0", Box::new(|r| r.idle_timeout = Some(Duration::ZERO))),
        ];
        for (what, change) in refused {
            assert!(matches!(request(change), Err(Error::InvalidInput(_))), "{what}");
        }
        let accepted: Vec<Change> = vec![
            Box::new(|_| {}),
            Box::new(|r| r.cmd = "x".repeat(4096)),
            Box::new(|r| r.cmd = "with space and ü".into()),
            Box::new(|r| r.args = vec![String::new(), "a\nb".into(), "x".repeat(1024 * 1024 - 3)]),
            Box::new(|r| r.env = env(&[("_a9", "\n"), ("HOME", "/x"), ("PYTHONUNBUFFERED", "1")])),
            Box::new(|r| r.env = (0..256).map(|i| (format!("K{i}"), String::new())).collect()),
            Box::new(|r| r.exit_retention = Some(Duration::ZERO)),
        ];
        for (number, change) in accepted.into_iter().enumerate() {
            assert_eq!(request(change), Ok(()), "accepted {number}");
        }
    }

    #[test]
    fn s7_a_prelude_above_its_limit_is_too_large() {
        assert_eq!(request(|r| r.stdin = Some(vec![0; 4 << 20])), Ok(()));
        assert_eq!(
            request(|r| r.stdin = Some(vec![0; (4 << 20) + 1])),
            Err(Error::TooLarge)
        );
    }

    #[test]
    fn s9_persistent_only_fields_are_not_looked_at_in_the_other_tiers() {
        let request = SpawnRequest {
            cmd: "true".into(),
            max_lifetime: Some(Duration::ZERO),
            idle_timeout: Some(Duration::ZERO),
            ..SpawnRequest::default()
        };
        assert_eq!(
            request.check(Tier::Captured, Path::new("/w"), &Limits::default()),
            Ok(())
        );
    }

    #[test]
    fn s4_the_view_holds_no_value() {
        let request = SpawnRequest {
            env: env(&[("TOKEN", "hush")]),
            stdin: Some(b"hush".into()),
            ..Default::default()
        };
        assert!(!format!("{:?}", request.view()).contains("hush"));
        assert_eq!(request.view().env_keys, ["TOKEN"]);
    }
}
