//! The view of the tree: a root of its own, which contains only what the configuration names.
//!
//! First all files of the host are opened as detached mounts. Then the old root is removed for good. Only then are paths resolved
//! inside of the new root, so that no symbolic link in it can lead a mount to the host.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use capsule_init::{Bound, Confinement, Identity, Layer, Report, View};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdir, open, symlink};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, move_mount, open_tree, unmount};
use rustix::process::{chdir, pivot_root};

use crate::failure::At;
use crate::identity::{Mapping, Others};
use crate::overlay::Taken;
use crate::prepared::Prepared;
use crate::{devices, furnish, injection, mask, overlay, protect, sys, terminals};

const LAYER: Layer = Layer::Mounts;

/// What every bind of the host's gets.
const HARMLESS: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// What programs expect beside the devices. Shared memory lies in `/tmp`, so that one size bounds both.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/tmp", "/dev/shm"),
];

/// Where the new root is put together: every machine has this folder, and only root could have put something else there.
const SITE: &str = "/proc";

/// Part of the host, held by nothing but this descriptor until it is put somewhere.
pub(crate) struct Tree<'a> {
    pub(crate) fd: OwnedFd,
    pub(crate) at: &'a Path,
}

/// How the files of the workspace's owner are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As the identity's, or there is no need to.
    AsWanted,
    /// The file system of the workspace cannot show them as another's.
    AsTheyAre,
}

/// What was built.
pub(crate) struct Built {
    /// The workspace as it is seen there.
    pub(crate) workspace: OwnedFd,
    /// The namespace that the workspace is shown by, if it had to be made.
    pub(crate) mapping: Option<OwnedFd>,
    pub(crate) shown: Shown,
    /// The first folder that is the host's own where an overlay was meant to be.
    pub(crate) bound: Option<Bound>,
    /// The root that was prepared, whether it was used or not.
    pub(crate) prepared: Option<Prepared>,
}

/// What every view has in it, beside `/proc` itself.
pub(crate) fn complete_root(devices: devices::Held) -> Result<(), Report> {
    devices::put(devices)?;
    terminals::put()?;
    for (target, at) in LINKS {
        symlink(target, at).at(LAYER, at)?;
    }
    mask::cover()
}

/// Replaces the root. `host_workspace` is what the host says it is, `injected` the content of what is injected, `mapping`
/// the namespace that the workspace is shown by, and `prepared` a root that is used if it fits.
pub(crate) fn build(
    confinement: &Confinement,
    host_workspace: &OwnedFd,
    injected: Option<OwnedFd>,
    mapping: Option<OwnedFd>,
    prepared: Option<Prepared>,
) -> Result<Built, Report> {
    // Neither shall our mounts appear for the host, nor its later ones for us.
    sys::mount_setattr(CWD, c"/", true, 0, libc::MS_PRIVATE).at(LAYER, "/")?;

    let workspace = take_workspace(path(&confinement.workspace), host_workspace)?;
    let owners = confinement.workspace_owner.zip(confinement.identity);
    let making = match (owners, &mapping) {
        (Some((owner, identity)), None) => Some(Mapping::begin(owner, identity, Others::AsTheyAre)?),
        _ => None,
    };
    let view = &confinement.view;
    let fits = prepared.as_ref().and_then(|prepared| prepared.root_for(confinement));
    let Collected {
        before,
        beneath,
        devices,
        bound,
    } = match fits {
        Some(_) => Collected::default(),
        None => collect(view, workspace.at)?,
    };
    let made = making.map(Mapping::finish).transpose()?.map(|(made, _)| made);
    let shown = match (owners, made.as_ref().or(mapping.as_ref())) {
        (Some((owner, _)), Some(mapping)) => show(owner, mapping, &workspace, writable(view, &before, &beneath))?,
        _ => Shown::AsWanted,
    };

    replace_root(fits)?;
    if fits.is_none() {
        complete_root(devices)?;
        new_tmpfs("/tmp", c"mode=1777", confinement.tmp_bytes)?;
    }
    let own = injection::prepare(&confinement.injections)?;
    if fits.is_none() {
        furnish::furnish(view)?;
        before.iter().try_for_each(place)?;
    }
    place(&workspace)?;
    beneath.iter().try_for_each(place)?;
    protect::protect(&workspace.fd, workspace.at, confinement)?;
    if let Some(content) = injected {
        injection::expose(&confinement.injections, content, &own)?;
    }

    sys::mount_setattr(CWD, c"/", false, libc::MOUNT_ATTR_RDONLY, 0).at(LAYER, "read-only /")?;
    Ok(Built {
        workspace: workspace.fd,
        mapping: made,
        shown,
        bound,
        prepared,
    })
}

/// What was taken of the host, beside the workspace.
#[derive(Default)]
pub(crate) struct Collected<'a> {
    /// Mounted before the workspace.
    pub(crate) before: Vec<Tree<'a>>,
    /// Lies in the workspace, and can be put there only when that has been.
    pub(crate) beneath: Vec<Tree<'a>>,
    pub(crate) devices: devices::Held,
    /// As [`Built::bound`].
    pub(crate) bound: Option<Bound>,
}

/// Takes what is to be bound, and devices. After this `/dev` is no longer the host's.
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

/// The trees that can be written to.
fn writable<'a>(
    view: &'a [View],
    before: &'a [Tree<'a>],
    beneath: &'a [Tree<'a>],
) -> impl Iterator<Item = &'a Tree<'a>> {
    let is_writable = |tree: &&Tree<'_>| {
        let mut binds = view.iter();
        binds.any(|view| matches!(view, View::Bind { at, writable: true, .. } if path(at) == tree.at))
    };
    before.iter().chain(beneath).filter(is_writable)
}

/// Shows the files of `owner` as the identity's own: in the workspace, and in `others`, where root's stay root's.
fn show<'a>(
    owner: Identity,
    mapping: &OwnedFd,
    workspace: &Tree<'_>,
    others: impl Iterator<Item = &'a Tree<'a>>,
) -> Result<Shown, Report> {
    let is_root = owner.uid == 0 || owner.gid == 0;
    match sys::map_mount(workspace.fd.as_fd(), mapping.as_fd()) {
        Ok(()) => {}
        Err(Errno::INVAL) if !is_root => return Ok(Shown::AsTheyAre),
        Err(errno) => return Err(errno).at(Layer::Workspace, &workspace.at.to_string_lossy()),
    }
    for tree in others.filter(|_| !is_root) {
        match sys::map_mount(tree.fd.as_fd(), mapping.as_fd()) {
            // What such a file system has can be written to as far as all may.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno).at(LAYER, &tree.at.to_string_lossy()),
        }
    }
    Ok(Shown::AsWanted)
}

pub(crate) fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Takes what is to be bound.
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
                // It has them already.
                Taken::Overlay => 0,
                Taken::There | Taken::Copy(_) | Taken::Bound(_) if *writable => HARMLESS,
                Taken::There | Taken::Copy(_) | Taken::Bound(_) => HARMLESS | libc::MOUNT_ATTR_RDONLY,
            };
            take(from, path(at), attributes)
        }
    }
}

/// What is the host's own where an overlay was meant to be.
fn bound((view, taken): (&View, &Taken)) -> Option<Bound> {
    match (view, taken) {
        (View::Bind { source, .. }, Taken::Bound(errno)) => Some(Bound {
            source: source.clone(),
            errno: errno.raw_os_error(),
        }),
        (View::Bind { .. } | View::Link { .. } | View::Folder { .. } | View::File { .. }, _) => None,
    }
}

/// A copy of the mounts at `source`, with these attributes; nothing where nothing is there.
fn take<'a>(source: &Path, at: &'a Path, attributes: u64) -> Result<Option<Tree<'a>>, Report> {
    // Recursive also where there is nothing beneath: an ordinary user may not uncover what a mount hides.
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

/// The kernel clones no mount of another namespace, so the host's descriptor cannot be used itself: the path is, and what
/// it leads to must be what the descriptor is.
fn take_workspace<'a>(at: &'a Path, host: &OwnedFd) -> Result<Tree<'a>, Report> {
    let subject = at.to_string_lossy();
    let tree = take(at, at, HARMLESS)?.ok_or(Errno::NOENT).at(LAYER, &subject)?;
    let (ours, theirs) = (fstat(&tree.fd).at(LAYER, &subject)?, fstat(host).at(LAYER, &subject)?);
    if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) {
        Ok(tree)
    } else {
        Err(Errno::STALE).at(LAYER, &subject)
    }
}

/// Leaves a root that was made in advance, or one that is empty but for a fresh `/proc`; and nothing of the old one.
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

/// Makes the mount point and mounts the tree there.
pub(crate) fn place(tree: &Tree<'_>) -> Result<(), Report> {
    let subject = || tree.at.to_string_lossy();
    let kind = fstat(&tree.fd).at(LAYER, &subject())?.st_mode;
    let directory = FileType::from_raw_mode(kind).is_dir();
    let made = with_parents(tree.at, &|| {
        if directory {
            mkdir(tree.at, Mode::from_raw_mode(0o755))
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            open(tree.at, flags, Mode::from_raw_mode(0o444)).map(drop)
        }
    });
    match made {
        // It may be there already, in something that was put there before; if it is not fit, the mount says so.
        Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
        Err(errno) => return Err(errno).at(LAYER, &subject()),
    }
    move_mount(&tree.fd, c"", CWD, tree.at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at(LAYER, &subject())
}

/// Makes something, and the folders above it only if that turns out to be necessary.
pub(crate) fn with_parents(at: &Path, make: &dyn Fn() -> Result<(), Errno>) -> Result<(), Errno> {
    match make() {
        Err(Errno::NOENT) => {}
        made => return made,
    }
    if let Some(parent) = at.parent() {
        match with_parents(parent, &|| mkdir(parent, Mode::from_raw_mode(0o755))) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    make()
}
