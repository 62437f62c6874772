//! Shows folders that the tree only reads through an overlay of the tree's own instead of a bind mount.
//!
//! A bind mount shows the host's inodes, and processes that see the same inode can affect each other: they can connect to a
//! socket, join the two ends of a FIFO, watch the use of a file with `inotify`, and delay others with a lock. An overlay has
//! inodes of its own in front of the same content, so none of this works across trees. The pages of programs stay shared with
//! the host.
//!
//! To make and to discard an overlay takes longer than to mount a part of one. So one overlay serves the whole of the root's file
//! system, if the kernel allows it. The kernel does not if this process may not see beneath the mounts there.
//!
//! The overlay is mounted over the folder that it shows, in this process's private copy of the host's mounts, before any mount
//! is taken from there. So every mount that is taken below it, through any symbolic link, comes from the overlay.
//! Only one of its layers matters. The kernel requires a second layer, which is empty.
//!
//! An overlay does not show file systems that are mounted beneath, and not every file system can be a layer. A file that it cannot
//! show is copied. A folder that it cannot show is bind-mounted and reported. The command starts all the same.
//!
//! The kernel looks each name up once and remembers the answer. A command may thus not see what the host adds, replaces or
//! removes after the command has looked for it.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use capsule_init::{Layer, Report, View};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, fstat, mkdir, open, statx};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount, open_tree,
};
use rustix::process::{chdir, fchdir};

use crate::copies;
use crate::failure::At;
use crate::mount_point::path;

const LAYER: Layer = Layer::Mounts;

/// The folder of the empty layer and of the copies. Every machine has this folder, and its needed parts have been taken
/// before it is covered.
const SITE: &str = "/dev";

/// Temporary names within that folder, while the overlay is made.
const EMPTY: &str = "/dev/empty";
const COPIES: &str = "/dev/copies";
const WHOLE: &str = "/dev/whole";

/// File systems whose files the kernel generates. Their visible parts are bind-mounted.
const PSEUDO: [&str; 3] = ["/proc", "/sys", "/dev"];

/// A folder of which one overlay shows all visible parts, if no overlay can show the whole file system.
const ETC: &str = "/etc";

/// Whether a part of the view is taken before any folder is covered: the tree writes to it, or a policy names it in
/// order to share it, such as a socket.
pub(crate) fn is_shared(view: &View) -> bool {
    let View::Bind { source, writable, .. } = view else {
        return true;
    };
    let source = path(source);
    *writable
        || PSEUDO.iter().any(|pseudo| source.starts_with(pseudo))
        || found(source).is_ok_and(|found| !matches!(found.kind, FileType::Directory | FileType::RegularFile))
}

/// The source of a part of the view, after everything that can be covered was covered.
pub(crate) enum Taken {
    /// The part comes from an overlay, and nothing can write to it.
    Overlay,
    /// The part comes from its own path, because it does not exist yet or is shared.
    There,
    /// The part could not be covered, and is a copy.
    Copy(PathBuf),
    /// The part could not be covered, for this reason, and is the host's own.
    Bound(Errno),
}

/// Covers the read-only parts of `view`, which are all but the `shared` ones.
pub(crate) fn cover(view: &[View], shared: &[bool]) -> Result<Vec<Taken>, Report> {
    let sources = || {
        view.iter().zip(shared).map(|(view, shared)| match view {
            View::Bind { source, .. } if !shared => Some(path(source)),
            View::Bind { .. } | View::Link { .. } | View::Folder { .. } | View::File { .. } => None,
        })
    };
    let mut covers = Covers {
        mounted: mounted(),
        made: Vec::new(),
        whole: None,
    };
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", SITE, "tmpfs", flags, c"mode=0755,size=8m,nr_inodes=512").at(LAYER, SITE)?;
    for folder in [EMPTY, COPIES, WHOLE] {
        mkdir(folder, Mode::from_raw_mode(0o755)).at(LAYER, folder)?;
    }
    covers.whole = whole().ok();
    if sources().flatten().any(|source| source.starts_with(ETC)) {
        // If the whole file system cannot be covered, its parts may still be.
        let _each_by_itself = covers.cover(Path::new(ETC));
    }
    let taken = sources().enumerate().map(|(number, source)| {
        let Some(source) = source else { return Taken::There };
        match covers.cover(source) {
            Ok(()) => Taken::Overlay,
            Err(Errno::NOENT | Errno::NOTDIR) => Taken::There,
            Err(errno) => copies::copy(source, Path::new(COPIES), number).map_or(Taken::Bound(errno), Taken::Copy),
        }
    });
    let taken = taken.collect();
    chdir("/").at(LAYER, "/")?;
    Ok(taken)
}

struct Covers {
    /// The mount points.
    mounted: Vec<PathBuf>,
    /// The overlays, by the number of their mounts.
    made: Vec<u64>,
    /// The number of the root's mount, if there is an overlay of all of it at [`WHOLE`].
    whole: Option<u64>,
}

/// Makes an overlay of the root's file system.
fn whole() -> Result<u64, Errno> {
    let root = open_path(Path::new("/"))?;
    let overlay = overlay(&root)?;
    move_mount(&overlay, c"", CWD, WHOLE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    mount_number(&root)
}

impl Covers {
    /// Covers `source` unless it is already covered. For a file it covers the folder that contains the file.
    fn cover(&mut self, source: &Path) -> Result<(), Errno> {
        if self.made.contains(&found(source)?.mount) {
            return Ok(());
        }
        let found = open_path(source)?;
        // The resolved path.
        let at = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(|_| Errno::NOENT)?;
        let is_folder = FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Directory;
        let (folder, at) = if is_folder {
            (found, at.as_path())
        } else {
            let parent = at.parent().ok_or(Errno::INVAL)?;
            (open_path(parent)?, parent)
        };
        if self
            .mounted
            .iter()
            .any(|mounted| mounted != at && mounted.starts_with(at))
        {
            return Err(Errno::BUSY);
        }
        let overlay = if self.whole == Some(mount_number(&folder)?) {
            // The resolved path contains no symbolic links.
            let part = Path::new(WHOLE).join(at.strip_prefix("/").map_err(|_| Errno::INVAL)?);
            open_tree(
                CWD,
                &part,
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
            )?
        } else {
            overlay(&folder)?
        };
        let number = mount_number(&overlay)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&overlay, c"", &folder, c"", flags)?;
        self.made.push(number);
        Ok(())
    }
}

/// An overlay of a folder, not mounted anywhere yet.
fn overlay(folder: &OwnedFd) -> Result<OwnedFd, Errno> {
    // Named as the working directory: a path would have to be quoted, may be too long, and would be visible to the tree.
    fchdir(folder)?;
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"lowerdir", c".:/dev/empty")?;
    // Attributes on the folder's files that set up an overlay, which only root can set, belong to another overlay.
    fsconfig_set_flag(&context, c"userxattr")?;
    // Files and folders must have the same device number, as they have on the host.
    fsconfig_set_string(&context, c"xino", c"on")?;
    fsconfig_create(&context)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// The file at a path, by device and inode.
struct Found {
    kind: FileType,
    /// The number of the mount that contains it.
    mount: u64,
}

/// One call, because some fifty paths are looked up.
fn found(path: &Path) -> Result<Found, Errno> {
    let found = statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE | StatxFlags::MNT_ID)?;
    Ok(Found {
        kind: FileType::from_raw_mode(found.stx_mode.into()),
        mount: found.stx_mnt_id,
    })
}

fn mount_number(fd: &OwnedFd) -> Result<u64, Errno> {
    let found = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(found.stx_mnt_id)
}

/// Every mount point, or none if the kernel does not list them.
fn mounted() -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let places = table
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    places
        .map(|place| OsString::from_vec(unescaped(place)))
        .map(PathBuf::from)
        .collect()
}

/// The kernel writes spaces, tabs, newlines and backslashes as three octal digits.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((&byte, rest)) = text.split_first() {
        text = rest;
        if byte == b'\\'
            && let Some((digits, rest)) = rest.split_first_chunk::<3>()
        {
            let digit = |value: u8, digit: &u8| value.wrapping_mul(8).wrapping_add(digit.wrapping_sub(b'0'));
            plain.push(digits.iter().fold(0, digit));
            text = rest;
        } else {
            plain.push(byte);
        }
    }
    plain
}
