//! The folders in the user's home in which this command keeps what outlives a run: compiled code and trials, saved grants, the
//! capsules' values, and what their processes made where builds read.
//!
//! Files in these folders run as native code, grant something, or belong to one capsule. So one that other users could write to is
//! never used, and neither a workspace nor a visible folder that is writable may contain one. If there is no suitable folder, the
//! result is `None`, without a message.

use std::fs::{DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// `$XDG_CACHE_HOME/capsule` or `~/.cache/capsule`, created if need be.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    private_folder(&base("XDG_CACHE_HOME", ".cache")?.join("capsule"))
}

/// The folder in it for compiled code. The engine removes every file in this folder that is not its own.
pub(crate) fn code_dir() -> Option<PathBuf> {
    private_folder(&cache_dir()?.join("code"))
}

/// The folder for saved grants: `$XDG_CONFIG_HOME/capsule` or `~/.config/capsule`. It is created even before it is needed, because a
/// process of a capsule could otherwise make it, in a workspace around it.
pub(crate) fn config_dir() -> Option<PathBuf> {
    private_folder(&base("XDG_CONFIG_HOME", ".config")?.join("capsule"))
}

/// The folder for the stores of all capsules: `$XDG_STATE_HOME/capsule/store` or `~/.local/state/capsule/store`, created if need be.
pub(crate) fn store_dir() -> Option<PathBuf> {
    private_folder(&base("XDG_STATE_HOME", ".local/state")?.join("capsule/store"))
}

/// The folder for what processes made where builds read: `$XDG_STATE_HOME/capsule/changes` or `~/.local/state/capsule/changes`, created
/// if need be.
pub(crate) fn changes_dir() -> Option<PathBuf> {
    private_folder(&base("XDG_STATE_HOME", ".local/state")?.join("capsule/changes"))
}

/// All of them, which processes of capsules may not change.
pub(crate) fn protected() -> Vec<PathBuf> {
    [cache_dir(), config_dir(), store_dir(), changes_dir()]
        .into_iter()
        .flatten()
        .collect()
}

/// The folder that a variable names, or the usual one in the home folder.
fn base(variable: &str, at_home: &str) -> Option<PathBuf> {
    // The specification of these variables asks to ignore a relative path.
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            std::env::home_dir()
                .filter(|home| home.is_absolute())
                .map(|home| home.join(at_home))
        })
}

/// The folder, created if need be; `None` if other users may write there.
fn private_folder(path: &Path) -> Option<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).ok()?;
    let path = path.canonicalize().ok()?;
    is_private(&path.metadata().ok()?).then_some(path)
}

/// Whether only this user may write there.
pub(crate) fn is_private(metadata: &Metadata) -> bool {
    metadata.uid() == Uid::effective().as_raw() && metadata.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn created_for_the_user_alone() {
        let base = tempfile::tempdir().unwrap();
        let made = private_folder(&base.path().join("a/capsule")).unwrap();
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(private_folder(&made), Some(made));
    }

    #[test]
    fn one_that_others_can_write_to_is_not_used() {
        let base = tempfile::tempdir().unwrap();
        let made = private_folder(&base.path().join("capsule")).unwrap();
        set_permissions(&made, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(private_folder(&made), None);
    }

    #[test]
    fn none_where_it_cannot_be_created() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(private_folder(&file.join("capsule")), None);
    }
}
