//! A detached mount, and the place in the new root where it is put.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use capsule_init::{Layer, Report};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdir, open};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use crate::failure::At;

const LAYER: Layer = Layer::Mounts;

/// A part of the host, which only this descriptor holds until it is attached.
pub(crate) struct Tree<'a> {
    pub(crate) fd: OwnedFd,
    pub(crate) at: &'a Path,
}

pub(crate) fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
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
        // It may exist already, in a part that was mounted before. If it is of the wrong kind, the mount fails.
        Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
        Err(errno) => return Err(errno).at(LAYER, &subject()),
    }
    move_mount(&tree.fd, c"", CWD, tree.at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at(LAYER, &subject())
}

/// Calls `make`. If a folder above `at` is missing, makes the folders and calls it again.
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
