//! The folder in which saved grants are kept.
//!
//! A file in this folder grants a capsule something, so a folder that other users could write to is never used, and neither a
//! workspace nor a visible folder that is writable may contain it. It is made even before it is needed, because a process of a capsule
//! could otherwise make it, in a workspace around it.

use std::path::PathBuf;

use crate::cache_dir::{base, private_folder};

/// `$XDG_CONFIG_HOME/capsule` or `~/.config/capsule`, created if need be; `None` if there is no suitable folder.
pub(crate) fn config_dir() -> Option<PathBuf> {
    private_folder(&base("XDG_CONFIG_HOME", ".config")?.join("capsule"))
}
