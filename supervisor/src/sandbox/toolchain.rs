//! Finds the toolchains that users install for themselves, so that one word shows a toolchain to commands.
//!
//! Such a toolchain lies in a home folder, beside its user's secrets (a `credentials.toml`, an `.npmrc`). So its folder is never
//! shown as a whole: each toolchain is a list of the parts that a command needs to run it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A toolchain that lives outside of the system's folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Toolchain {
    /// Rust: the toolchains, their hashes and the settings of `RUSTUP_HOME` (`~/.rustup`), and `CARGO_HOME/bin` (`~/.cargo/bin`).
    Rustup,
    /// Python: the versions and the program itself of `PYENV_ROOT` (`~/.pyenv`).
    Pyenv,
    /// Node: the versions and the program itself of `NVM_DIR` (`~/.nvm`, `~/.config/nvm`).
    Nvm,
    /// Go: `GOROOT`, the folder that `go` in `PATH` leads to, and `~/sdk`.
    Go,
    /// Java: `JAVA_HOME`, the folder that `java` in `PATH` leads to, `~/.sdkman/candidates/java` and `~/.jdks`.
    Jdk,
}

/// The parts of the host's environment and accounts that name the places of toolchains.
pub(crate) struct Surroundings {
    /// The home folders of the host's user: the environment's and the account's.
    pub(crate) homes: Vec<PathBuf>,
    pub(crate) vars: Vec<(OsString, OsString)>,
}

/// The installed parts of a toolchain.
pub(crate) struct Parts {
    pub(crate) paths: Vec<PathBuf>,
    /// The variable by which its programs find it, because commands have another home folder.
    pub(crate) variable: (&'static str, PathBuf),
}

impl Toolchain {
    /// All known toolchains.
    pub const ALL: [Self; 5] = [Self::Rustup, Self::Pyenv, Self::Nvm, Self::Go, Self::Jdk];

    /// The name of the toolchain, as options spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Pyenv => "pyenv",
            Self::Nvm => "nvm",
            Self::Go => "go",
            Self::Jdk => "jdk",
        }
    }

    /// The toolchain with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|toolchain| toolchain.name() == name)
    }

    /// The variable that names its folder.
    pub(crate) const fn variable(self) -> &'static str {
        match self {
            Self::Rustup => "RUSTUP_HOME",
            Self::Pyenv => "PYENV_ROOT",
            Self::Nvm => "NVM_DIR",
            Self::Go => "GOROOT",
            Self::Jdk => "JAVA_HOME",
        }
    }

    /// The parts that exist here, or `None` if the toolchain is not installed.
    pub(crate) fn parts(self, around: &Surroundings) -> Option<Parts> {
        let usual: &[&str] = match self {
            Self::Rustup => &[".rustup"],
            Self::Pyenv => &[".pyenv"],
            Self::Nvm => &[".nvm", ".config/nvm"],
            Self::Go | Self::Jdk => &[],
        };
        let program = match self {
            Self::Go => Some("go"),
            Self::Jdk => Some("java"),
            Self::Rustup | Self::Pyenv | Self::Nvm => None,
        };
        let installed = program.and_then(|program| around.installed(program));
        let inside: &[&str] = match self {
            // The last is included only because rustup creates it if it is missing.
            Self::Rustup => &["toolchains", "settings.toml", "update-hashes"],
            Self::Pyenv => &["bin", "libexec", "plugins", "pyenv.d", "shims", "version", "versions"],
            Self::Nvm => &["alias", "bash_completion", "nvm-exec", "nvm.sh", "versions"],
            Self::Go | Self::Jdk => &[""],
        };
        let root = around.variable(self.variable()).or(installed);
        let root = root.or_else(|| around.at_home(usual).into_iter().next());
        let beside = match self {
            Self::Rustup => match around.variable("CARGO_HOME") {
                Some(home) => vec![home.join("bin")],
                None => around.at_home(&[".cargo/bin"]),
            },
            Self::Go => around.at_home(&["sdk"]),
            Self::Jdk => around.at_home(&[".sdkman/candidates/java", ".jdks"]),
            Self::Pyenv | Self::Nvm => Vec::new(),
        };
        let inside = root.iter().flat_map(|root| {
            inside.iter().map(move |part| match *part {
                "" => root.clone(),
                part => root.join(part),
            })
        });
        let paths: Vec<_> = inside.chain(beside).filter(|path| path.exists()).collect();
        let variable = (self.variable(), root.or_else(|| paths.first().cloned())?);
        (!paths.is_empty()).then_some(Parts { paths, variable })
    }

    /// The toolchain that usually has a folder of this name, wherever the folder is and whether it exists or not.
    pub(crate) fn by_name(path: &Path) -> Option<Self> {
        path.components().find_map(|part| match part.as_os_str().to_str()? {
            ".cargo" | ".rustup" => Some(Self::Rustup),
            ".pyenv" => Some(Self::Pyenv),
            ".nvm" => Some(Self::Nvm),
            ".jdks" | ".sdkman" => Some(Self::Jdk),
            _ => None,
        })
    }

    /// The toolchain to which `path` belongs.
    pub(crate) fn of(path: &Path, around: &Surroundings) -> Option<Self> {
        let holds = |parts: Parts| parts.paths.iter().any(|part| path.starts_with(part));
        Self::ALL
            .into_iter()
            .find(|toolchain| toolchain.parts(around).is_some_and(holds))
    }
}

impl Surroundings {
    /// The surroundings of this process.
    pub(crate) fn of_host() -> Self {
        let account = super::accounts::home(rustix::process::geteuid().as_raw());
        let mut homes: Vec<_> = std::env::home_dir().into_iter().chain(account).collect();
        homes.retain(|home| home.is_absolute());
        homes.dedup();
        Self {
            homes,
            vars: std::env::vars_os().collect(),
        }
    }

    fn variable(&self, name: &str) -> Option<PathBuf> {
        let (_, value) = self.vars.iter().find(|(key, _)| key == name)?;
        let path = PathBuf::from(value);
        (path.is_absolute() && path.exists()).then_some(path)
    }

    fn at_home(&self, places: &[&str]) -> Vec<PathBuf> {
        let places = places
            .iter()
            .flat_map(|place| self.homes.iter().map(move |home| home.join(place)));
        places.filter(|path| path.exists()).collect()
    }

    /// The folder whose `bin` holds the program that `PATH` leads to.
    fn installed(&self, program: &str) -> Option<PathBuf> {
        let path = self.vars.iter().find(|(key, _)| key == "PATH");
        let path = path.map_or(OsStr::new(""), |(_, value)| value);
        let found = std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .find_map(|folder| folder.join(program).canonicalize().ok())?;
        let bin = found.parent().filter(|bin| bin.ends_with("bin"))?;
        // A program in `/usr/bin` belongs to the system and not to a toolchain.
        let root = bin.parent().filter(|root| root.components().count() > 2)?;
        Some(root.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn b1_a_toolchain_is_shown_without_what_lies_beside_it() {
        let home = tempfile::tempdir().unwrap();
        for folder in [
            ".rustup/toolchains/stable",
            ".rustup/tmp",
            ".cargo/bin",
            ".cargo/registry",
        ] {
            fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        fs::write(home.path().join(".rustup/settings.toml"), "").unwrap();
        fs::write(home.path().join(".cargo/credentials.toml"), "hush").unwrap();
        let around = Surroundings {
            homes: vec![home.path().into()],
            vars: Vec::new(),
        };
        let parts = Toolchain::Rustup.parts(&around).unwrap();
        let inside = [".rustup/toolchains", ".rustup/settings.toml", ".cargo/bin"].map(|part| home.path().join(part));
        assert_eq!(parts.paths, inside);
        assert_eq!(parts.variable, ("RUSTUP_HOME", home.path().join(".rustup")));
        assert_eq!(
            Toolchain::of(&home.path().join(".cargo/bin/cargo"), &around),
            Some(Toolchain::Rustup)
        );
        assert_eq!(
            Toolchain::of(&home.path().join(".cargo/credentials.toml"), &around),
            None
        );
        assert!(Toolchain::Pyenv.parts(&around).is_none());
    }

    #[test]
    fn a_variable_says_where_and_path_leads_to_what_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        fs::create_dir_all(folder.join("a/go1.99/bin")).unwrap();
        fs::write(folder.join("a/go1.99/bin/go"), "").unwrap();
        fs::create_dir_all(folder.join("root/versions")).unwrap();
        let around = Surroundings {
            homes: Vec::new(),
            vars: vec![
                ("PYENV_ROOT".into(), folder.join("root").into()),
                ("PATH".into(), folder.join("a/go1.99/bin").into()),
            ],
        };
        let pyenv = Toolchain::Pyenv.parts(&around).unwrap();
        assert_eq!(pyenv.paths, [folder.join("root/versions")]);
        let go = Toolchain::Go.parts(&around).unwrap();
        assert_eq!(go.paths, [folder.join("a/go1.99")]);
    }

    #[test]
    fn names_are_unique_and_found() {
        for toolchain in Toolchain::ALL {
            assert_eq!(Toolchain::named(toolchain.name()), Some(toolchain));
        }
        assert_eq!(Toolchain::named("cargo"), None);
    }
}
