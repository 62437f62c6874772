//! A process that was started under the mock, as a test reads it.

use crate::{ExitStatus, ProcessId, Signal};

/// A process that was started, with its present state.
///
/// ```
/// # use capsule_sdk::{Command, mock::{Host, Script}};
/// let host = Host::new();
/// host.command("make", |run| Script::new().exit(if run.args.is_empty() { 0 } else { 2 }));
/// Command::new("make").arg("all").status().unwrap();
/// assert_eq!(host.runs()[0].exit.unwrap().code(), Some(2));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The variables that the capsule set, and those that hold the paths of injected files.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub current_dir: Option<String>,
    /// The files injected.
    pub files: Vec<File>,
    /// Its label, if one was given.
    pub label: Option<String>,
    /// Its id, if it is persistent.
    pub id: Option<ProcessId>,
    /// All that it got on its standard input so far.
    pub input: Vec<u8>,
    /// Whether its standard input is still open.
    pub input_open: bool,
    /// The signals that the capsule sent.
    pub signals: Vec<Signal>,
    /// How it ended, if it did.
    pub exit: Option<ExitStatus>,
}

impl Run {
    /// A variable of its environment.
    ///
    /// ```
    /// # use capsule_sdk::{Command, mock::{Host, Script}};
    /// let host = Host::new();
    /// host.command("make", |run| Script::new().stdout(run.env("CC").unwrap_or("cc")).exit(0));
    /// assert_eq!(Command::new("make").env("CC", "clang").output().unwrap().stdout, b"clang");
    /// ```
    #[must_use]
    pub fn env(&self, key: &str) -> Option<&str> {
        let var = self.env.iter().find(|(name, _)| name == key);
        var.map(|(_, value)| value.as_str())
    }

    /// The content of an injected file, by the path where the process finds it.
    ///
    /// ```
    /// # use capsule_sdk::{Command, mock::{Host, Script}};
    /// let host = Host::new();
    /// host.command("show", |run| Script::new().stdout(run.file(run.env("CONFIG").unwrap()).unwrap()).exit(0));
    /// assert_eq!(Command::new("show").file_env("CONFIG", "x = 1").output().unwrap().stdout, b"x = 1");
    /// ```
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        let file = self.files.iter().find(|file| file.path == path);
        file.map(|file| file.content.as_slice())
    }
}

/// A file that was injected.
///
/// ```
/// # use capsule_sdk::{Command, mock::{Host, Script}};
/// let host = Host::new();
/// host.command("true", |_| Script::new().exit(0));
/// Command::new("true").file_at("/etc/x", "y").status().unwrap();
/// let file = &host.runs()[0].files[0];
/// assert_eq!((&*file.path, &*file.content), ("/etc/x", &b"y"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// Where the process finds it.
    pub path: String,
    /// What it holds.
    pub content: Vec<u8>,
}
