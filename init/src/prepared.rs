//! The root of a tree, made while its init waits for a command.
//!
//! To build a root takes as long as the rest of a start: some sixty mounts. The next command usually has the view of the last
//! command, so a waiting init makes that root in advance. The root is used only if a new root would be identical: the
//! configuration is the same, nothing was mounted or unmounted since, and each path still leads to the same, unchanged file or
//! folder. Otherwise it is discarded, and only time was lost.
//!
//! Writable folders and the workspace are never part of it, because the owner of their files is known only with the
//! configuration.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use capsule_init::{Confinement, Expected, HEADER, View, decode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags, open, statx};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::umask;

use crate::mount_point::{path, place};
use crate::mounts::{Collected, collect, complete_root, new_tmpfs, replace_root};
use crate::{furnish, sys};

/// The prepared root. It is not attached, and so it is freed with its descriptor.
pub(crate) struct Prepared {
    root: OwnedFd,
    expected: Expected,
    /// The files that the paths of the view led to before.
    found: Vec<Option<Found>>,
    /// Reports every mount and unmount in the host's mount namespace, from before the root was made.
    mounts: OwnedFd,
}

impl Prepared {
    /// Prepares the root that `file` describes, if it can be made in advance.
    pub(crate) fn new(file: Option<OwnedFd>) -> Option<Self> {
        let mut frame = Vec::new();
        File::from(file?).read_to_end(&mut frame).ok()?;
        let expected: Expected = decode(frame.get(HEADER..)?).ok()?;
        if expected.view.iter().any(|part| is_late(part, &expected.workspace)) {
            return None;
        }
        let mounts = open("/proc/self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let mounts = mounts.ok()?;
        let found = found(&expected.view);
        // A child makes it: this process stays in the host's mount namespace, to see later mounts there.
        let root = sys::by_a_child(|| make(&expected))?;
        Some(Self {
            root,
            expected,
            found,
            mounts,
        })
    }

    /// The root, if it still is what a command with this confinement would see.
    pub(crate) fn root_for(&self, confinement: &Confinement) -> Option<&OwnedFd> {
        let is_the_same = confinement.injections.is_empty()
            && self.expected.is_of(confinement)
            && !self.is_outdated()
            && found(&confinement.view) == self.found;
        is_the_same.then_some(&self.root)
    }

    /// Whether anything was mounted or unmounted.
    fn is_outdated(&self) -> bool {
        let mut fds = [PollFd::new(&self.mounts, PollFlags::PRI)];
        poll(&mut fds, Some(&Timespec::default())) != Ok(0)
    }
}

/// Whether a part of a view cannot be made before the configuration is known.
fn is_late(part: &View, workspace: &[u8]) -> bool {
    matches!(part, View::Bind { at, writable, .. } if *writable || path(at).starts_with(path(workspace)))
}

/// Makes the root, in a child of init that ends afterwards.
fn make(expected: &Expected) -> Option<OwnedFd> {
    sys::unshare(libc::CLONE_NEWNS).ok()?;
    sys::mount_setattr(CWD, c"/", true, 0, libc::MS_PRIVATE).ok()?;
    umask(Mode::empty());
    let Collected {
        before, devices, bound, ..
    } = collect(&expected.view, path(&expected.workspace)).ok()?;
    // A bind-mounted part must be reported, which is possible only after the configuration has arrived.
    if bound.is_some() {
        return None;
    }
    replace_root(None).ok()?;
    complete_root(devices).ok()?;
    new_tmpfs("/tmp", c"mode=1777", expected.tmp_bytes).ok()?;
    furnish::furnish(&expected.view).ok()?;
    before.iter().try_for_each(place).ok()?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, "/", flags).ok()
}

/// The file that a path leads to, and the time of its last change.
#[derive(PartialEq, Eq)]
struct Found {
    device: (u32, u32),
    file: u64,
    mode: u16,
    changed: (i64, u32),
}

/// The files of the parts of a view that come from the host.
fn found(view: &[View]) -> Vec<Option<Found>> {
    let sources = view.iter().filter_map(|part| match part {
        View::Bind { source, .. } => Some(path(source)),
        View::Link { .. } | View::Folder { .. } | View::File { .. } => None,
    });
    let wanted = StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::INO | StatxFlags::CTIME;
    sources
        .map(|source| statx(CWD, source, AtFlags::NO_AUTOMOUNT, wanted).ok().map(of))
        .collect()
}

const fn of(statx: Statx) -> Found {
    Found {
        device: (statx.stx_dev_major, statx.stx_dev_minor),
        file: statx.stx_ino,
        mode: statx.stx_mode,
        changed: (statx.stx_ctime.tv_sec, statx.stx_ctime.tv_nsec),
    }
}
