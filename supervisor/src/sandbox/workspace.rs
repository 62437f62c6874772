//! The one directory that a capsule's commands work in (contract S3).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::refused;
use crate::os::directory;

/// A directory, held open. Cloning is cheap and shares the handle.
#[derive(Clone, Debug)]
pub struct Workspace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    handle: OwnedFd,
}

/// Why a directory cannot be a workspace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkspaceError {
    /// The directory does not exist, is no directory, or may not be opened.
    #[error("the workspace {path:?} cannot be opened: {source}; name a directory that exists")]
    Open {
        /// The path as given.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is `/`: everything would be in it.
    #[error("the root directory cannot be a workspace; name the folder in which the capsule works")]
    Root,
    /// A process that may write to this directory controls the host, its user, or another program.
    #[error(
        "the folder {path:?} cannot be a workspace: {reason}; name a folder that holds nothing but what the capsule is to \
         work on"
    )]
    Refused {
        /// Where it is.
        path: PathBuf,
        /// The directory or file that it is, lies in or holds.
        reason: String,
    },
}

/// Why a working directory was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CwdError {
    /// It is outside of the workspace, or leads there.
    Escape,
    /// The directory does not exist.
    Missing,
    /// The host could not look: it ran out of descriptors or memory, or the disk failed.
    Host(Errno),
}

impl Workspace {
    /// Opens `path`; from here on it is this directory, whatever the path comes to name.
    ///
    /// # Errors
    /// [`WorkspaceError`]: it cannot be opened; or a process that may write there has more than a workspace. That is so
    /// of the root, of folders of the system and those by which running programs are reached (`/etc`, `/usr`, `/run`,
    /// `$XDG_RUNTIME_DIR` and their like), of home folders, those of `/etc/passwd` as well as `$HOME`, and what holds
    /// one, of the places for keys and programs in a home, of `$CARGO_HOME` and `$RUSTUP_HOME`, and of a folder that
    /// holds a socket of a running program (looked for in three levels of folders and 4096 entries). What the folder is
    /// counts, and not by which path or link it was reached.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WorkspaceError> {
        Self::open_apart_from(path, &[])
    }

    /// The same, and `state` are folders of the embedder's own in which it keeps what it executes or trusts, such as compiled
    /// code: a workspace may neither be in one nor hold one. One that does not exist is passed over.
    ///
    /// # Errors
    /// As of [`Workspace::open`].
    pub fn open_apart_from(path: impl AsRef<Path>, state: &[PathBuf]) -> Result<Self, WorkspaceError> {
        let workspace = Self::open_unchecked(path)?;
        match refused::reason(workspace.handle(), workspace.path(), state) {
            None => Ok(workspace),
            Some(reason) => Err(WorkspaceError::Refused {
                path: workspace.path().into(),
                reason,
            }),
        }
    }

    /// The same for an embedder that knows the directory: only the root is refused.
    ///
    /// # Errors
    /// The directory cannot be opened, or it is the root.
    pub fn open_unchecked(path: impl AsRef<Path>) -> Result<Self, WorkspaceError> {
        let path = path.as_ref();
        let opened = path.canonicalize().and_then(|path| {
            let handle = directory::open(&path)?;
            // The directory that was opened, in case the path names another one by now.
            let itself = std::fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd()));
            Ok((handle, itself.unwrap_or(path)))
        });
        let (handle, path) = opened.map_err(|source| WorkspaceError::Open {
            path: path.into(),
            source,
        })?;
        if path.parent().is_none() {
            return Err(WorkspaceError::Root);
        }
        Ok(Self(Arc::new(Inner { path, handle })))
    }

    /// Where the workspace was when it was opened: absolute, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub(crate) fn handle(&self) -> &OwnedFd {
        &self.0.handle
    }

    /// Opens the directory that `cwd` names beneath the workspace, and the workspace itself without one.
    pub(crate) fn resolve(&self, cwd: Option<&str>) -> Result<OwnedFd, CwdError> {
        let cwd = cwd.unwrap_or(".");
        // A `..` is refused as written, even if it would stay inside: its target depends on the symbolic links before it, and no
        // request needs it.
        let leaves = |component| {
            matches!(
                component,
                Component::ParentDir | Component::RootDir | Component::Prefix(_)
            )
        };
        if Path::new(cwd).components().any(leaves) {
            return Err(CwdError::Escape);
        }
        directory::open_beneath(self.0.handle.as_fd(), cwd).map_err(cwd_error)
    }
}

/// The fault is the guest's unless it is known to be the host's.
fn cwd_error(error: io::Error) -> CwdError {
    match Errno::from_io_error(&error) {
        Some(Errno::XDEV) => CwdError::Escape,
        Some(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO | Errno::NOSYS | Errno::PERM)) => {
            CwdError::Host(errno)
        }
        Some(_) | None => CwdError::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn s3_a_cwd_stays_beneath_the_workspace() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        symlink("a/b", root.path().join("inside")).unwrap();
        symlink("../..", root.path().join("a/b/up-too-far")).unwrap();
        symlink("../../..", root.path().join("a/b/out")).unwrap();
        symlink(outside.path(), root.path().join("absolute")).unwrap();
        symlink(root.path().join("a"), root.path().join("absolute-inside")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        let workspace = Workspace::open(root.path()).unwrap();

        for good in [
            None,
            Some("."),
            Some("a"),
            Some("a/b"),
            Some("./a//b/"),
            Some("inside"),
            Some("a/b/up-too-far"),
        ] {
            assert!(workspace.resolve(good).is_ok(), "{good:?}");
        }
        for escape in [
            "/",
            "/tmp",
            "..",
            "a/..",
            "a/../..",
            "missing/../..",
            "a/b/out",
            "absolute",
            "absolute-inside",
        ] {
            assert_eq!(
                workspace.resolve(Some(escape)).unwrap_err(),
                CwdError::Escape,
                "{escape}"
            );
        }
        for missing in ["", "missing", "a/missing", "file", "file/a", "loop", "a\0b"] {
            assert_eq!(
                workspace.resolve(Some(missing)).unwrap_err(),
                CwdError::Missing,
                "{missing}"
            );
        }
    }

    #[test]
    fn b1_the_root_is_no_workspace() {
        assert!(matches!(Workspace::open("/"), Err(WorkspaceError::Root)));
    }
}
