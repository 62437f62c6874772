//! Files and folders of the workspace that the tree may read and not change (contract B6).
//!
//! Each is mounted over itself, read-only. A mount point can be neither renamed nor removed. A folder above it could be renamed, so
//! each folder between it and the workspace becomes a mount of itself too. Nothing is made on the disk, so a file that does not
//! exist is not protected.
//!
//! Earlier trees may have written the workspace. So the path to each file is walked name by name, from descriptor to
//! descriptor, without following symbolic links. A symbolic link on the way is itself pinned, and its target is protected too if it
//! lies in the workspace.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use capsule_init::{Bytes, Confinement, Layer, Report};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::failure::At;
use crate::sys;

/// The most names in the workspace that are listed. If there are more, each protected name is looked up by a call.
const MOST_NAMES: usize = 256;

/// The longest chain of symbolic links that is followed.
const LINKS: u32 = 8;

/// Protects the paths of the confinement. The workspace is at `at` already, and `workspace` is its mount.
pub(crate) fn protect(workspace: &OwnedFd, at: &Path, confinement: &Confinement) -> Result<(), Report> {
    if let Some(writable) = &confinement.writable {
        all_but(workspace, at, writable)?;
    }
    let mut pinned = Pinned::default();
    let there = names(workspace);
    for path in &confinement.protected {
        let mut next = beneath(at, path_of(path)).filter(|path| is_among(there.as_ref(), path));
        for _ in 0..=LINKS {
            let Some(path) = next.take() else { break };
            next = pinned
                .walk(workspace, at, &path)
                .at(Layer::Mounts, &format!("protecting {}", path.display()))?;
        }
    }
    Ok(())
}

/// The names in the workspace; none if they are too many to be looked up one by one, or may not be listed.
fn names(workspace: &OwnedFd) -> Option<BTreeSet<OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(workspace, ".", flags, Mode::empty()).ok()?;
    let mut names = BTreeSet::new();
    for entry in Dir::new(folder).ok()? {
        names.insert(OsStr::from_bytes(entry.ok()?.file_name().to_bytes()).to_owned());
        if names.len() > MOST_NAMES {
            return None;
        }
    }
    Some(names)
}

/// Whether the first name of a path may be there.
fn is_among(names: Option<&BTreeSet<OsString>>, path: &Path) -> bool {
    let first = path.iter().next();
    first.is_none_or(|first| names.is_none_or(|names| names.contains(first)))
}

/// Makes the whole workspace read-only except for these paths. A symbolic link on such a path is an error, because it could lead to
/// a file that the user did not name.
fn all_but(workspace: &OwnedFd, at: &Path, writable: &[Bytes]) -> Result<(), Report> {
    let subject = |path: &Path| format!("keeping {} writable", path.display());
    let mut taken = Vec::new();
    for path in writable {
        let path = path_of(path);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let found = openat2(workspace, path, flags, Mode::empty(), resolve).at(Layer::Mounts, &subject(path))?;
        let tree = open_tree(&found, c"", clone_flags()).at(Layer::Mounts, &subject(path))?;
        taken.push((path, found, tree));
    }
    let layer = Layer::Mounts;
    sys::mount_setattr(workspace.as_fd(), c"", true, libc::MOUNT_ATTR_RDONLY, 0).at(layer, &at.to_string_lossy())?;
    for (path, found, tree) in taken {
        put(&tree, &found).at(layer, &subject(path))?;
    }
    Ok(())
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The paths that are mount points by now.
#[derive(Default)]
struct Pinned(BTreeSet<PathBuf>);

impl Pinned {
    /// Protects the file at `path`. Returns the target of a symbolic link on the way, if that is in the workspace.
    fn walk(&mut self, workspace: &OwnedFd, at: &Path, path: &Path) -> Result<Option<PathBuf>, Errno> {
        let mut here = None;
        let mut walked = PathBuf::new();
        let mut names = path.iter().peekable();
        while let Some(name) = names.next() {
            let folder = here.as_ref().unwrap_or(workspace);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match openat(folder, name, flags, Mode::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                found => found?,
            };
            let link = FileType::from_raw_mode(fstat(&found)?.st_mode).is_symlink();
            let last = names.peek().is_none();
            let target = link.then(|| readlinkat(&found, "", Vec::new())).transpose()?;
            walked.push(name);
            let mount = if last || self.0.insert(walked.clone()) {
                over_itself(&found, last && !link)?
            } else {
                found
            };
            if let Some(target) = target {
                let parent = walked.parent().unwrap_or(Path::new(""));
                let target = parent
                    .join(OsStr::from_bytes(target.to_bytes()))
                    .join(names.collect::<PathBuf>());
                return Ok(beneath(at, &target));
            }
            here = Some(mount);
        }
        Ok(None)
    }
}

/// Bind-mounts a file or folder over itself.
fn over_itself(found: &OwnedFd, read_only: bool) -> Result<OwnedFd, Errno> {
    let tree = open_tree(found, c"", clone_flags())?;
    if read_only {
        sys::mount_setattr(tree.as_fd(), c"", true, libc::MOUNT_ATTR_RDONLY, 0)?;
    }
    put(&tree, found)?;
    Ok(tree)
}

fn clone_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH
}

fn put(tree: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", place, c"", flags)
}

/// `path`, seen from the workspace at `at`, without `.` and `..`; `None` if it leads out. A path before a `..` was walked and is no
/// symbolic link, or it is walked next and has to exist.
fn beneath(at: &Path, path: &Path) -> Option<PathBuf> {
    let path = if path.is_absolute() {
        path.strip_prefix(at).ok()?
    } else {
        path
    };
    let mut beneath = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => beneath.push(name),
            Component::CurDir => {}
            Component::ParentDir if beneath.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!beneath.as_os_str().is_empty()).then_some(beneath)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b6_a_link_is_followed_within_the_workspace_only() {
        let at = Path::new("/home/me/work");
        for (path, expected) in [
            ("a/../b", Some("b")),
            ("./a/./b", Some("a/b")),
            ("/home/me/work/x", Some("x")),
            ("/home/me/work", None),
            ("/etc/passwd", None),
            ("../x", None),
            ("a/../../x", None),
            (".", None),
        ] {
            assert_eq!(
                beneath(at, Path::new(path)).as_deref(),
                expected.map(Path::new),
                "{path}"
            );
        }
    }
}
