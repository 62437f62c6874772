//! The folders that the capsule's processes see beside the system and the workspace, as the user grants them (`--visible`). What
//! the author requests is in `asks`.

use std::path::PathBuf;

use capsule_host::sandbox::{Policy, Visible, Workspace};
use thiserror::Error;

use crate::user_dirs::protected;
use crate::written::Written;

/// The flag, as messages name it.
const FLAG: &str = "--visible";

/// Why a folder cannot be granted.
#[derive(Debug, Error)]
pub(crate) enum NotVisible {
    /// It lies in the workspace, where a command could replace the folder before the next command starts.
    #[error("{FLAG}: {} is in the workspace {}, all of which the processes see", .0.display(), .1.display())]
    InWorkspace(PathBuf, PathBuf),
    /// A command could grant itself something there, or change what this command executes.
    #[error("{FLAG}: it would let the processes write to {}, where this command keeps what it trusts", .0.display())]
    State(PathBuf),
}

/// Adds the granted folders to the policy.
pub(crate) fn grant(policy: Policy, granted: &[Written<Visible>], workspace: &Workspace) -> Result<Policy, NotVisible> {
    let mut policy = policy.visible_by(FLAG);
    for Written { value: visible, .. } in granted {
        check(visible, workspace)?;
        policy = policy.show(visible);
    }
    Ok(policy)
}

/// Whether the folder can be granted.
pub(crate) fn check(visible: &Visible, workspace: &Workspace) -> Result<(), NotVisible> {
    if let Some(place) = visible.in_folder(workspace.path()) {
        return Err(NotVisible::InWorkspace(place.into(), workspace.path().into()));
    }
    for folder in protected() {
        if visible.is_writable() && (visible.in_folder(&folder).is_some() || visible.shows(&folder)) {
            return Err(NotVisible::State(folder));
        }
    }
    Ok(())
}
