//! Finds the program that a command names (contract S2).
//!
//! A bare name is looked up in the passthrough `PATH`, but never beneath the workspace: the guest can write there, and a
//! grant for `git` must not become a grant for any file that the guest calls `git`. Init finds out which of the candidates can be
//! executed by executing them, in the confinement and as the user in which they will run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::LaunchError;

/// The paths to try for `cmd`, in order. A `cmd` with a slash is its own path, taken from the child's working directory.
pub(crate) fn candidates(cmd: &str, path: &OsStr, workspace: &Path) -> Result<Vec<PathBuf>, LaunchError> {
    if cmd.contains('/') {
        return Ok(vec![cmd.into()]);
    }
    // An empty or relative entry would mean the working directory, which is in the workspace.
    let directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    let found: Vec<_> = directories
        .map(|directory| directory.join(cmd))
        // Resolved for the check only: the executed path keeps its name, by which multi-call programs choose their role.
        .filter(|candidate| {
            candidate
                .canonicalize()
                .is_ok_and(|resolved| resolved.is_file() && !resolved.starts_with(workspace))
                && !candidate.starts_with(workspace)
        })
        .collect();
    if found.is_empty() {
        return Err(LaunchError::NotFound(format!(
            "{cmd} is in no folder of PATH outside of the workspace"
        )));
    }
    Ok(found)
}
