//! What of this machine the capsule's processes see beside the system and the workspace: what was granted (`--visible`),
//! and what its author asks for (`visible` of the manifest).
//!
//! A manifest grants nothing. It comes with the capsule, whose author this person need not trust; so what it asks for and
//! was not granted is told of with the flag that would grant it, and the calls are made without it.

use std::path::PathBuf;

use capsule_host::sandbox::{Policy, Visible, Workspace};
use thiserror::Error;

use crate::manifest::Manifest;

/// The flag, as messages name it.
const FLAG: &str = "--visible";

/// What was granted lies where a command could put something else in its place before the next one starts.
#[derive(Debug, Error)]
#[error("{FLAG}: {} is in the workspace {}, all of which the processes see", .0.display(), .1.display())]
pub(crate) struct InWorkspace(PathBuf, PathBuf);

/// Adds what was granted to what is visible.
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

/// Tells of what the manifest asks for and was not granted.
pub(crate) fn tell_of_wishes(manifest: &Manifest, granted: &[Visible]) {
    for wish in &manifest.visible {
        match wish.parse::<Visible>() {
            Ok(visible) if granted.iter().any(|granted| granted.covers(&visible)) => {}
            Ok(_) => {
                tracing::warn!("the capsule would like to see {wish:?}, which you did not grant: {FLAG} {wish:?} does");
            }
            Err(error) => tracing::warn!("the capsule would like to see {wish:?}, which it cannot: {error}"),
        }
    }
}
