//! Runs a command line of a page as a reader does: by a shell, with `capsule` in its path.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::sync::OnceLock;

use tempfile::TempDir;

/// A reader's shell. What the command keeps for a user is in a folder of this shell, outside of the clone: a workspace may not contain
/// it.
pub(crate) struct Shell {
    home: TempDir,
    /// Compiled code, which readers share so that each component is compiled once.
    cache: Rc<TempDir>,
}

impl Shell {
    pub(crate) fn new() -> Self {
        Self {
            home: TempDir::new().unwrap(),
            cache: Rc::new(TempDir::new().unwrap()),
        }
    }

    /// The shell of another reader, who knows nothing of what this one saved.
    pub(crate) fn of_another_reader(&self) -> Self {
        Self {
            home: TempDir::new().unwrap(),
            cache: Rc::clone(&self.cache),
        }
    }

    /// Runs the command line in this folder.
    pub(crate) fn run(&self, line: &str, folder: &Path) -> Output {
        let mut path = vec![programs().to_owned()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        shell()
            .args(["-c", line])
            .current_dir(folder)
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("XDG_CACHE_HOME", self.cache.path())
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// Whether this machine lacks `python3`, which is reported: the pages run a web server in it. On a machine that must have everything,
/// it fails.
pub(crate) fn lacks_python() -> bool {
    // What lies elsewhere confined commands may not see.
    let program = "/usr/bin/python3";
    let is_missing = !Path::new(program).exists();
    assert!(
        !is_missing || std::env::var_os("CAPSULE_REQUIRE_ALL").is_none(),
        "missing: {program}"
    );
    if is_missing {
        eprintln!("skipped: {program} is missing");
    }
    is_missing
}

#[expect(clippy::disallowed_methods, reason = "a reader types the commands into a shell")]
fn shell() -> Command {
    Command::new("sh")
}

/// A folder that holds the command under test as `capsule`.
fn programs() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide/bin");
        fs::create_dir_all(&folder).unwrap();
        let link = folder.join("capsule");
        if !link.exists() {
            // Absent, or from a target folder that has been moved.
            drop(fs::remove_file(&link));
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_capsule"), &link).unwrap();
        }
        folder
    })
}
