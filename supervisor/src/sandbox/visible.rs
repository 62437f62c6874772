//! Folders that a user shows to commands, beside the system and the workspace: a path, or a toolchain by its name.
//!
//! A user does not think of every file in a folder, and a command must not find files there that the user did not mean to show.
//! So this file refuses some folders: those that contain a home, secrets by a usual name, or the machine's state. An embedder
//! can use [`Policy::visible`](super::Policy::visible) instead, which makes no such checks.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use capsule_init::View;

use super::toolchain::{Surroundings, Toolchain};

/// A folder of the host's that commands can see: `DIR`, `DIR:rw` if they can also write there, or the name of a [`Toolchain`].
///
/// A word without a slash is the name of a toolchain; a folder in the current folder is `./NAME`. The path is resolved when
/// this value is made. It then keeps naming that folder, even if a symbolic link on the way changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible {
    pub(crate) places: Vec<Place>,
    pub(crate) writable: bool,
    pub(crate) variable: Option<(String, PathBuf)>,
}

/// A folder or file of the host's, and the path at which commands see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: PathBuf,
    pub(crate) at: PathBuf,
}

impl Place {
    /// A path that commands see where it is on the host.
    pub(crate) fn itself(path: PathBuf) -> Self {
        Self {
            source: path.clone(),
            at: path,
        }
    }

    pub(crate) fn view(&self, writable: bool) -> View {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_owned();
        View::Bind {
            source: bytes(&self.source),
            at: bytes(&self.at),
            writable,
        }
    }
}

/// Why a folder or a toolchain is not shown to commands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisibleError {
    /// A word without a slash that is not the name of a toolchain.
    #[error("{0:?} is no known toolchain (rustup, pyenv, nvm, go, jdk); write a folder of that name as ./{0}")]
    Unknown(String),
    /// The toolchain was found neither by its variable nor in the usual places.
    #[error("no {} was found: {} does not name an existing folder, and the usual places do not exist", .0.name(), .1)]
    NotInstalled(Toolchain, &'static str),
    /// A toolchain cannot be shown writable.
    #[error("{} can only be read: several programs use it", .0.name())]
    ReadOnly(Toolchain),
    /// The path does not exist, or this user may not reach it.
    #[error("{path:?} cannot be shown: {source}")]
    Unreachable {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It would let commands read or write files that they must not have.
    #[error("{path:?} is not shown to commands: {reason}; name the folder in it that they need")]
    Refused {
        /// The path.
        path: PathBuf,
        /// Why it is refused.
        reason: &'static str,
    },
}

/// The machine's state: every folder in it may reveal or reach something.
const STATE: &[&str] = &["/proc", "/sys", "/dev", "/run", "/var/run", "/boot"];

/// Folders that hold too much to be shown as a whole. Folders in them may be shown.
const TOO_MUCH: &[&str] = &["/", "/etc", "/root", "/home", "/var", "/var/lib", "/tmp", "/var/tmp"];

/// Folders with programs that the host and the machine execute, which no command may change.
const EXECUTED: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix",
    "/etc",
    "/var/spool",
];

/// The places in a home folder where programs keep secrets.
const SECRETS: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".password-store",
    ".aws",
    ".azure",
    ".config/gcloud",
    ".kube",
    ".docker",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".config/gh",
    ".config/hub",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".m2/settings.xml",
    ".pgpass",
    ".my.cnf",
    ".bash_history",
    ".zsh_history",
    ".mozilla",
    ".thunderbird",
    ".config/chromium",
    ".config/google-chrome",
    ".local/share/keyrings",
    ".claude",
    ".claude.json",
];

/// Files in a home folder that are executed when its owner logs in or types a usual command, or when this host runs again.
const EXECUTED_AT_HOME: &[&str] = &[
    ".bashrc",
    ".bash_profile",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".config",
    ".local/bin",
    ".local/share/applications",
    ".local/lib",
    ".cargo",
    ".rustup",
    ".pyenv",
    ".nvm",
    ".cache/capsule",
    "bin",
];

impl Visible {
    /// Parses `text`; tests pass surroundings of their own.
    fn parse(text: &str, around: &Surroundings) -> Result<Self, VisibleError> {
        let (path, writable) = match text.strip_suffix(":rw") {
            Some(path) => (path, true),
            None => (text, false),
        };
        if path.contains('/') {
            return Self::folder(Path::new(path), writable, around);
        }
        let toolchain = Toolchain::named(path).ok_or_else(|| VisibleError::Unknown(path.into()))?;
        if writable {
            return Err(VisibleError::ReadOnly(toolchain));
        }
        Self::toolchain_in(toolchain, around)
    }

    /// A toolchain of this machine's user.
    ///
    /// # Errors
    /// [`VisibleError`] if it is not installed, or lies in a folder that cannot be shown.
    pub fn toolchain(toolchain: Toolchain) -> Result<Self, VisibleError> {
        Self::toolchain_in(toolchain, &Surroundings::of_host())
    }

    fn toolchain_in(toolchain: Toolchain, around: &Surroundings) -> Result<Self, VisibleError> {
        let parts = toolchain
            .parts(around)
            .ok_or(VisibleError::NotInstalled(toolchain, toolchain.variable()))?;
        let mut places = Vec::new();
        for part in parts.paths {
            places.extend(spellings(&part, false, around)?);
        }
        let (key, folder) = parts.variable;
        Ok(Self {
            places,
            writable: false,
            variable: Some((key.into(), folder)),
        })
    }

    fn folder(path: &Path, writable: bool, around: &Surroundings) -> Result<Self, VisibleError> {
        Ok(Self {
            places: spellings(path, writable, around)?,
            writable,
            variable: None,
        })
    }

    /// The first path of this value that lies in `folder`, if any. A command that may write to `folder` could replace it before the
    /// next command starts.
    #[must_use]
    pub fn in_folder(&self, folder: &Path) -> Option<&Path> {
        let mut sources = self.places.iter().map(|place| place.source.as_path());
        sources.find(|source| source.starts_with(folder))
    }

    /// Whether it shows `folder`, a path without symbolic links, as a part of a larger folder or itself.
    #[must_use]
    pub fn shows(&self, folder: &Path) -> bool {
        self.places.iter().any(|place| folder.starts_with(&place.source))
    }

    /// Whether commands may write there.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether this value shows everything that `other` shows, and writable if `other` is writable.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let covered = |place: &Place| self.places.iter().any(|own| place.source.starts_with(&own.source));
        (self.writable || !other.writable) && other.places.iter().all(covered)
    }
}

impl FromStr for Visible {
    type Err = VisibleError;

    fn from_str(text: &str) -> Result<Self, VisibleError> {
        Self::parse(text, &Surroundings::of_host())
    }
}

/// The path without symbolic links, and the path as it was spelled if that differs: programs may use either.
fn spellings(path: &Path, writable: bool, around: &Surroundings) -> Result<Vec<Place>, VisibleError> {
    let unreachable = |source| VisibleError::Unreachable {
        path: path.into(),
        source,
    };
    let resolved = path.canonicalize().map_err(unreachable)?;
    let spelled = std::path::absolute(path).map_err(unreachable)?;
    for path in [&resolved, &spelled] {
        if let Some(reason) = objection(path, writable, around) {
            return Err(VisibleError::Refused {
                path: path.clone(),
                reason,
            });
        }
    }
    let plain = spelled != resolved && !spelled.components().any(|part| part == Component::ParentDir);
    let place = |at: PathBuf| Place {
        source: resolved.clone(),
        at,
    };
    Ok(std::iter::once(resolved.clone())
        .chain(plain.then_some(spelled))
        .map(place)
        .collect())
}

/// Why `path` must not be shown, if there is a reason.
fn objection(path: &Path, writable: bool, around: &Surroundings) -> Option<&'static str> {
    let is_or_holds = |other: &Path| other.starts_with(path);
    let meets = |other: &Path| path.starts_with(other) || is_or_holds(other);
    if TOO_MUCH.iter().any(|folder| path == Path::new(folder)) {
        return Some("it holds much that no command needs");
    }
    if STATE.iter().any(|folder| meets(Path::new(folder))) {
        return Some("it is the state of this machine");
    }
    for home in &around.homes {
        let resolved = home.canonicalize().unwrap_or_else(|_| home.clone());
        for home in [home, &resolved] {
            if is_or_holds(home) {
                return Some("it is, or holds, the home folder of this user");
            }
            if SECRETS
                .iter()
                .any(|secret| meets(&home.join(secret)) && home.join(secret).exists())
            {
                return Some("secrets are kept there");
            }
            if writable && EXECUTED_AT_HOME.iter().any(|place| meets(&home.join(place))) {
                return Some("what is written there is executed outside of the confinement");
            }
        }
    }
    if writable && EXECUTED.iter().any(|place| meets(Path::new(place))) {
        return Some("what is written there is executed, or believed, outside of the confinement");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn at_home(home: &Path) -> Surroundings {
        Surroundings {
            homes: vec![home.into()],
            vars: Vec::new(),
        }
    }

    fn told(text: &str, around: &Surroundings) -> String {
        Visible::parse(text, around).unwrap_err().to_string()
    }

    #[test]
    fn b1_what_holds_the_hosts_secrets_or_state_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("user");
        for made in [".ssh", ".cargo", "project/data", ".config"] {
            fs::create_dir_all(home.join(made)).unwrap();
        }
        fs::write(home.join(".cargo/credentials.toml"), "hush").unwrap();
        std::os::unix::fs::symlink("/proc", home.join("project/link")).unwrap();
        let around = at_home(&home);
        let named = |part: &str| home.join(part).display().to_string();
        for refused in [
            "/",
            "/proc",
            "/proc/1",
            "/sys",
            "/dev",
            "/run",
            "/etc",
            "/tmp",
            "/usr/..",
            "/home/../.",
        ] {
            if Path::new(refused).exists() {
                assert!(told(refused, &around).contains("is not shown"), "{refused}");
            }
        }
        for refused in ["", ".ssh", ".cargo", "project/link"] {
            assert!(told(&named(refused), &around).contains("is not shown"), "{refused}");
        }
        assert!(told(&folder.path().display().to_string(), &around).contains("home folder"));
        for refused in ["/usr/lib:rw", &format!("{}:rw", named(".config"))] {
            assert!(told(refused, &around).contains("executed"), "{refused}");
        }
        for shown in [
            named("project"),
            format!("{}:rw", named("project/data")),
            "/usr/share".into(),
        ] {
            assert!(Visible::parse(&shown, &around).is_ok(), "{shown}");
        }
    }

    #[test]
    fn a_word_is_a_toolchain_and_a_slash_makes_a_path() {
        let home = tempfile::tempdir().unwrap();
        let around = at_home(home.path());
        assert!(told("src", &around).contains("./src"));
        assert!(told("nvm", &around).contains("NVM_DIR"));
        fs::create_dir_all(home.path().join(".nvm/versions")).unwrap();
        assert!(told("nvm:rw", &around).contains("can only be read"));
        let nvm = Visible::parse("nvm", &around).unwrap();
        assert_eq!(nvm.variable, Some(("NVM_DIR".into(), home.path().join(".nvm"))));
        assert!(told("/no/such/folder", &around).contains("cannot be shown"));
    }

    #[test]
    fn b1_a_folder_is_shown_at_the_place_that_it_was_when_it_was_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        fs::create_dir(folder.join("a")).unwrap();
        std::os::unix::fs::symlink("a", folder.join("link")).unwrap();
        let link = folder.join("link");
        let visible = Visible::parse(&link.display().to_string(), &at_home(Path::new("/nowhere"))).unwrap();
        let source = folder.join("a");
        let places = [source.clone(), link].map(|at| Place {
            source: source.clone(),
            at,
        });
        assert_eq!(visible.places, places);
    }
}
