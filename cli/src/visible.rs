//! The folders that the capsule's processes see beside the system and the workspace: those that the user grants (`--visible`),
//! and those that the author requests (`visible` in the manifest).
//!
//! A manifest grants nothing. It comes with the capsule, whose author the user need not trust. So the command reports each
//! request that was not granted, with the flag that would grant it, and makes the calls without it.

use std::path::PathBuf;

use capsule_host::sandbox::{Policy, Visible, Workspace};
use thiserror::Error;

use crate::manifest::Manifest;

/// The flag, as messages name it.
const FLAG: &str = "--visible";

/// A granted folder lies in the workspace, where a command could replace the folder before the next command starts.
#[derive(Debug, Error)]
#[error("{FLAG}: {} is in the workspace {}, all of which the processes see", .0.display(), .1.display())]
pub(crate) struct InWorkspace(PathBuf, PathBuf);

/// Adds the granted folders to the policy.
pub(crate) fn grant(policy: Policy, granted: &[Visible], workspace: &Workspace) -> Result<Policy, InWorkspace> {
    let mut policy = policy.visible_by(FLAG);
    for visible in granted {
        if let Some(place) = visible.in_folder(workspace.path()) {
            return Err(InWorkspace(place.into(), workspace.path().into()));
        }
        policy = policy.show(visible);
    }
    Ok(policy)
}

/// Reports the requests of the manifest that were not granted.
pub(crate) fn tell_of_wishes(manifest: &Manifest, granted: &[Visible]) {
    for wish in &manifest.visible {
        match wish.parse::<Visible>() {
            Ok(visible) if granted.iter().any(|granted| granted.covers(&visible)) => {}
            Ok(_) => {
                tracing::warn!("the capsule asks to see {wish:?}, which you did not grant; {FLAG} {wish:?} grants it");
            }
            Err(error) => tracing::warn!("the capsule asks to see {wish:?}, which it cannot: {error}"),
        }
    }
}
