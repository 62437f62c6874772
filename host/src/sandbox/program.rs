//! Finding the program that a command names (contract S2).
//!
//! A bare name is looked up in the passthrough `PATH`. Nothing beneath the workspace is found that way: the guest writes
//! there, and a grant for `git` must not become a grant for whatever file it calls `git`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::LaunchError;

/// The path to execute for `cmd`. A `cmd` with a slash is its own path, taken from the child's working directory.
pub(crate) fn find(cmd: &str, path: &OsStr, workspace: &Path) -> Result<PathBuf, LaunchError> {
    if cmd.contains('/') {
        return Ok(cmd.into());
    }
    let mut denied = None;
    // An empty or relative entry would mean the working directory, which is in the workspace.
    for directory in std::env::split_paths(path).filter(|directory| directory.is_absolute()) {
        let candidate = directory.join(cmd);
        // Resolved for the check only: what is executed keeps the name by which multi-call programs know themselves.
        let Ok(resolved) = candidate.canonicalize() else {
            continue;
        };
        if resolved.starts_with(workspace) || candidate.starts_with(workspace) || !resolved.is_file() {
            continue;
        }
        match access(&resolved, Access::EXEC_OK) {
            Ok(()) => return Ok(candidate),
            // As shells do: remember it, and look further.
            Err(_) => denied = Some(candidate),
        }
    }
    Err(match denied {
        Some(candidate) => LaunchError::PermissionDenied(format!("{} is not executable", candidate.display())),
        None => LaunchError::NotFound(format!("{cmd} is in no directory of PATH outside of the workspace")),
    })
}

/// Says of an error of exec which of the three answers it is (contract S6).
pub(crate) fn exec_error(cmd: &str, error: &io::Error) -> LaunchError {
    if error.kind() == io::ErrorKind::NotFound {
        LaunchError::NotFound(format!("{cmd}, or the interpreter it asks for"))
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        LaunchError::PermissionDenied(cmd.into())
    } else {
        LaunchError::ExecFailed(format!("{cmd}: {error}"))
    }
}
