//! The part of the host's environment that a child sees (contract S2).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The host's variables that pass through: the places of programs, and the user's language. Nothing else of the host's
/// environment reaches a child, because tokens and passwords are kept there.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    passthrough: Vec<(OsString, OsString)>,
}

/// The `PATH` for a host without one, as in most shells.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Environment {
    /// Takes the passthrough from this process, as it is now.
    pub(crate) fn of_host() -> Self {
        Self::from_vars(std::env::vars_os())
    }

    fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self {
            passthrough: vars.into_iter().filter(|(key, _)| passes(key)).collect(),
        }
    }

    /// Each visible toolchain adds the variable that contains its path.
    pub(crate) fn with(mut self, variables: &[(String, PathBuf)]) -> Self {
        self.passthrough
            .retain(|(key, _)| !variables.iter().any(|(given, _)| key == given.as_str()));
        let given = variables.iter().map(|(key, path)| (key.into(), path.into()));
        self.passthrough.extend(given);
        self
    }

    pub(crate) fn path(&self) -> &OsStr {
        self.passthrough
            .iter()
            .find(|(key, _)| key == "PATH")
            .map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value)
    }

    /// The whole environment of a child whose request has `requested`. A request may replace locale and time zone.
    pub(crate) fn for_child(&self, requested: Vec<(String, String)>) -> Vec<(OsString, OsString)> {
        let mut env = self.passthrough.clone();
        env.retain(|(key, _)| !requested.iter().any(|(requested, _)| key == requested.as_str()));
        if !env.iter().any(|(key, _)| key == "PATH") {
            env.push(("PATH".into(), DEFAULT_PATH.into()));
        }
        if !requested.iter().any(|(key, _)| key == "HOME") {
            env.push(("HOME".into(), "/tmp".into()));
        }
        env.extend(requested.into_iter().map(|(key, value)| (key.into(), value.into())));
        env
    }
}

fn passes(key: &OsStr) -> bool {
    matches!(key.as_bytes(), b"PATH" | b"LANG" | b"TZ") || key.as_bytes().starts_with(b"LC_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(key, value)| (key.into(), value.into())).collect()
    }

    #[test]
    fn s2_only_the_passthrough_and_the_request_reach_the_child() {
        let host = Environment::from_vars(vars(&[
            ("PATH", "/bin"),
            ("LANG", "C"),
            ("LC_TIME", "de_DE"),
            ("TZ", "UTC"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("HOME", "/root"),
            ("LANGUAGE", "de"),
        ]));
        let mut env = host.for_child(vec![("A".into(), "1".into()), ("TZ".into(), "CET".into())]);
        env.sort();
        assert_eq!(
            env,
            vars(&[
                ("A", "1"),
                ("HOME", "/tmp"),
                ("LANG", "C"),
                ("LC_TIME", "de_DE"),
                ("PATH", "/bin"),
                ("TZ", "CET")
            ])
        );
    }

    #[test]
    fn s2_home_may_be_given() {
        let env = Environment::from_vars(vars(&[])).for_child(vec![("HOME".into(), "/here".into())]);
        assert_eq!(env, vars(&[("PATH", DEFAULT_PATH), ("HOME", "/here")]));
    }
}
