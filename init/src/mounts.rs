//! The parts of a root: the parts of the host, as detached mounts, and the parts that every root has.
//!
//! `root` puts them together for a command, and `prepared` before there is one.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use capsule_init::{Bound, Layer, Report, View};
use rustix::fs::{CWD, Mode, OFlags, mkdir, open, symlink};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, move_mount, open_tree, unmount};
use rustix::process::{chdir, pivot_root};

use crate::failure::At;
use crate::mount_point::{Tree, path};
use crate::overlay::Taken;
use crate::{devices, mask, overlay, sys, terminals};

const LAYER: Layer = Layer::Mounts;

/// The attributes of every bind mount of a part of the host.
pub(crate) const HARMLESS: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// The links that programs expect beside the devices. Shared memory lies in `/tmp`, so that one size bounds both.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/tmp", "/dev/shm"),
];

/// The folder in which the new root is built: every machine has this folder, and only root could have mounted over it.
const SITE: &str = "/proc";

/// Adds the parts that every view has, beside `/proc` itself.
pub(crate) fn complete_root(devices: devices::Held) -> Result<(), Report> {
    devices::put(devices)?;
    terminals::put()?;
    for (target, at) in LINKS {
        symlink(target, at).at(LAYER, at)?;
    }
    mask::cover()
}

/// The parts of the host, except the workspace.
#[derive(Default)]
pub(crate) struct Collected<'a> {
    /// Mounted before the workspace.
    pub(crate) before: Vec<Tree<'a>>,
    /// Parts that lie in the workspace, and so are mounted after it.
    pub(crate) beneath: Vec<Tree<'a>>,
    pub(crate) devices: devices::Held,
    /// The first folder that is bind-mounted because no overlay could show it.
    pub(crate) bound: Option<Bound>,
}

/// Takes the parts to bind, and the devices. After this `/dev` is no longer the host's.
pub(crate) fn collect<'a>(view: &'a [View], workspace: &Path) -> Result<Collected<'a>, Report> {
    let shared: Vec<_> = view.iter().map(overlay::is_shared).collect();
    let early = view.iter().zip(&shared).map(|(view, shared)| {
        if *shared {
            take_view(view, &Taken::There)
        } else {
            Ok(None)
        }
    });
    let early = early.collect::<Result<Vec<_>, _>>()?;
    let host_devices = open(
        "/dev",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let host_devices = host_devices.at(LAYER, "/dev")?;
    let taken = overlay::cover(view, &shared)?;
    let devices = devices::take(host_devices);
    let late = view
        .iter()
        .zip(early)
        .zip(&taken)
        .map(|((view, early), taken)| match (early, taken) {
            (Some(early), _) => Ok(Some(early)),
            (None, taken) => take_view(view, taken),
        });
    let trees = late.collect::<Result<Vec<_>, _>>()?;
    let (beneath, before): (Vec<_>, Vec<_>) = trees
        .into_iter()
        .flatten()
        .partition(|tree| tree.at.starts_with(workspace));
    Ok(Collected {
        before,
        beneath,
        devices,
        bound: view.iter().zip(&taken).find_map(bound),
    })
}

/// Takes one part to bind.
fn take_view<'a>(view: &'a View, taken: &Taken) -> Result<Option<Tree<'a>>, Report> {
    match view {
        View::Link { .. } | View::Folder { .. } | View::File { .. } => Ok(None),
        View::Bind { source, at, writable } => {
            let from = if let Taken::Copy(copy) = taken {
                copy
            } else {
                path(source)
            };
            let attributes = match taken {
                // An overlay has these attributes already.
                Taken::Overlay => 0,
                Taken::There | Taken::Copy(_) | Taken::Bound(_) if *writable => HARMLESS,
                Taken::There | Taken::Copy(_) | Taken::Bound(_) => HARMLESS | libc::MOUNT_ATTR_RDONLY,
            };
            take(from, path(at), attributes)
        }
    }
}

/// A part that is bind-mounted because no overlay could show it.
fn bound((view, taken): (&View, &Taken)) -> Option<Bound> {
    match (view, taken) {
        (View::Bind { source, .. }, Taken::Bound(errno)) => Some(Bound {
            source: source.clone(),
            errno: errno.raw_os_error(),
        }),
        (View::Bind { .. } | View::Link { .. } | View::Folder { .. } | View::File { .. }, _) => None,
    }
}

/// A copy of the mounts at `source`, with these attributes; none if nothing exists there.
pub(crate) fn take<'a>(source: &Path, at: &'a Path, attributes: u64) -> Result<Option<Tree<'a>>, Report> {
    // Recursive even if nothing is mounted beneath: an ordinary user may not uncover what a mount hides.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let fd = match open_tree(CWD, source, flags) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        other => other.at(LAYER, &source.to_string_lossy())?,
    };
    if attributes != 0 {
        sys::mount_setattr(fd.as_fd(), c"", true, attributes, 0).at(LAYER, &source.to_string_lossy())?;
    }
    Ok(Some(Tree { fd, at }))
}

/// Replaces the root by one that was made in advance, or by an empty one with a new `/proc`. No part of the old root stays.
pub(crate) fn replace_root(root: Option<&OwnedFd>) -> Result<(), Report> {
    if let Some(root) = root {
        move_mount(root, c"", CWD, SITE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at(LAYER, SITE)?;
        chdir(SITE).at(LAYER, SITE)?;
    } else {
        // With devices: the one tmpfs that is read-only in the end.
        new_tmpfs_at(SITE, MountFlags::NOSUID, c"mode=0755,size=1m,nr_inodes=4096")?;
        chdir(SITE).at(LAYER, SITE)?;
        mkdir("proc", Mode::from_raw_mode(0o755)).at(LAYER, "proc")?;
        // Now rather than later: without a /proc in sight the kernel gives an ordinary user no new one.
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("proc", "proc", "proc", flags, None::<&CStr>).at(LAYER, "proc")?;
    }
    // Puts the old root on top of the new one, from where it is taken away.
    pivot_root(".", ".").at(LAYER, "pivot_root")?;
    unmount(".", UnmountFlags::DETACH).at(LAYER, "old root")?;
    chdir("/").at(LAYER, "/")
}

/// A file system in memory, bounded in bytes and, since each file costs the kernel memory too, in files.
pub(crate) fn new_tmpfs(at: &str, options: &CStr, bytes: u64) -> Result<(), Report> {
    mkdir(at, Mode::from_raw_mode(0o755)).at(LAYER, at)?;
    let files = (bytes / 4096).max(64);
    let mut options = options.to_bytes().to_vec();
    options.extend(format!(",size={bytes},nr_inodes={files}\0").into_bytes());
    let options = CStr::from_bytes_with_nul(&options)
        .map_err(|_| Errno::INVAL)
        .at(LAYER, at)?;
    new_tmpfs_at(at, MountFlags::NOSUID | MountFlags::NODEV, options)
}

fn new_tmpfs_at(at: &str, flags: MountFlags, options: &CStr) -> Result<(), Report> {
    mount("tmpfs", at, "tmpfs", flags, options).at(LAYER, at)
}
