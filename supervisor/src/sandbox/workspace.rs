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
    /// The directory does not exist, is not a directory, or may not be opened.
    #[error("the workspace {path:?} cannot be opened: {source}; name a directory that exists")]
    Open {
        /// The path, as the caller gave it.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The directory is `/`, which contains everything.
    #[error("the root directory cannot be a workspace; name the folder in which the capsule works")]
    Root,
    /// A process that may write to this directory controls the host, its user, or another program.
    #[error(
        "the folder {path:?} cannot be a workspace: {reason}; name a folder that holds nothing but what the capsule is to \
         work on"
    )]
    Refused {
        /// The path of the directory.
        path: PathBuf,
        /// The reason: the protected directory or file that the directory is, lies in or contains.
        reason: String,
    },
}

/// Why a working directory was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CwdError {
    /// The directory is outside of the workspace, or a symbolic link on the path leads outside.
    Escape,
    /// The directory does not exist.
    Missing,
    /// The host could not check it: it has no descriptor or memory left, or the disk failed.
    Host(Errno),
}

impl Workspace {
    /// Opens `path`. The workspace stays the directory that was opened, even if `path` names another one later.
    ///
    /// # Errors
    /// [`WorkspaceError`]: the directory cannot be opened, or write access to it would give control over more than a
    /// workspace. The following are refused:
    /// - the root;
    /// - folders of the system, and those through which running programs are reached (`/etc`, `/usr`, `/run`,
    ///   `$XDG_RUNTIME_DIR` and the like);
    /// - home folders (those of `/etc/passwd`, and `$HOME`), and every folder that contains one;
    /// - the folders for keys and programs in a home folder;
    /// - `$CARGO_HOME` and `$RUSTUP_HOME`;
    /// - a folder that contains a socket of a running program (three levels of folders and 4096 entries are searched).
    ///
    /// The directory itself is compared, and not the path or link through which it was reached.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WorkspaceError> {
        Self::open_apart_from(path, &[])
    }

    /// As [`Workspace::open`], for an embedder that has folders of its own, `state`, in which it keeps what it executes
    /// or trusts, such as compiled code. A workspace may neither be in such a folder nor contain one. A folder that
    /// does not exist is ignored.
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

    /// As [`Workspace::open`], for an embedder that knows the directory: only the root is refused.
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

    /// Opens the directory that `cwd` names beneath the workspace; without a `cwd`, the workspace itself.
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
