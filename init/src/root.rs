//! The view of the tree: a root of its own, which contains only what the configuration names.
//!
//! All parts of the host are first opened as detached mounts. Then the old root is unmounted for good. Only then are paths resolved
//! inside of the new root, so that no symbolic link in it can lead a mount to the host.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use capsule_init::{Bound, Confinement, Identity, Layer, Report, View};
use rustix::fs::{CWD, fstat};
use rustix::io::Errno;

use crate::failure::At;
use crate::identity::{Mapping, Others};
use crate::mount_point::{Tree, path, place};
use crate::mounts::{Collected, HARMLESS, collect, complete_root, new_tmpfs, replace_root, take};
use crate::prepared::Prepared;
use crate::{furnish, injection, protect, sys};

const LAYER: Layer = Layer::Mounts;

/// How the files of the workspace's owner are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The files appear as the identity's own, or no such mapping is needed.
    AsWanted,
    /// The file system of the workspace cannot map their owner.
    AsTheyAre,
}

/// The result of the construction.
pub(crate) struct Built {
    /// The workspace in the new root.
    pub(crate) workspace: OwnedFd,
    /// The user namespace that maps the workspace's owner, if it had to be made.
    pub(crate) mapping: Option<OwnedFd>,
    pub(crate) shown: Shown,
    /// The first folder that is bind-mounted because no overlay could show it.
    pub(crate) bound: Option<Bound>,
    /// The root that was prepared, whether it was used or not.
    pub(crate) prepared: Option<Prepared>,
}

/// Replaces the root. `host_workspace` is the descriptor from the host, `injected` the content of the injected files, `mapping` the
/// user namespace that maps the workspace's owner, and `prepared` a root that is used if it fits.
pub(crate) fn build(
    confinement: &Confinement,
    host_workspace: &OwnedFd,
    injected: Option<OwnedFd>,
    mapping: Option<OwnedFd>,
    prepared: Option<Prepared>,
) -> Result<Built, Report> {
    // The host must not see this process's mounts, and this process must not see later mounts of the host.
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

/// Makes the files of `owner` appear as the identity's own: in the workspace, and in `others`, where files of root stay root's.
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
            // Files of such a file system are writable as far as all users may write to them.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno).at(LAYER, &tree.at.to_string_lossy()),
        }
    }
    Ok(Shown::AsWanted)
}

/// The kernel clones no mount of another namespace, so the host's descriptor itself cannot be used. The path is used instead, and
/// it must lead to the directory of the descriptor.
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
