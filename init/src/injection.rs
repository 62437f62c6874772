//! Injected files, which the host hands over and the tree sees read-only (contract J1).
//!
//! All files arrive as one file in memory, which cannot be mounted. So they are copied into a file system of their own, which then
//! becomes read-only as a whole. Each file is mounted at its path, and the mount of the whole file system is removed. From then on
//! these mounts are the only access to the files. The tree can neither change nor undo them, and they end with its namespace.
//!
//! A path is safe only in a folder that init made. In a folder of the host's, a mount point would have to be made on the
//! host's disk, and a process that unlinks it would remove the mount. So such a path is refused.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use capsule_init::{Injection, Layer, Report};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdir, mkdirat, open, openat, stat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_remount, move_mount, open_tree, unmount,
};

use crate::failure::At;

const LAYER: Layer = Layer::Mounts;

/// The only folder that the tree may write to and in which an injected file may lie.
const TMP: &str = "/tmp";

/// The folder in which the files are put together. It is covered meanwhile, and no file can be injected there.
const SITE: &str = "/proc";

/// The files are data only. If they could be executed, an injected file could take the place of a program.
const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// The file systems that init made, by their devices.
pub(crate) struct Own([u64; 2]);

/// Makes the folders beneath `/tmp` on the paths of the files, before `/tmp` holds anything else. The tree could rename a folder of
/// its `/tmp`, and so change the path to a file. It cannot rename a mount point, so each folder is bind-mounted on itself.
pub(crate) fn prepare(files: &[Injection]) -> Result<Own, Report> {
    let folders: BTreeSet<_> = files
        .iter()
        .flat_map(|file| path(file).ancestors().skip(1).map(move |folder| (folder, file)))
        .filter(|(folder, _)| folder.starts_with(TMP) && *folder != Path::new(TMP))
        .map(|(folder, file)| (folder, &file.at))
        .collect();
    let mut made = PathBuf::new();
    for (folder, at) in folders {
        // Sorted, so that the equal folders of several files are neighbours.
        if made != folder {
            pinned(folder).map_err(|errno| refused(at, errno))?;
            folder.clone_into(&mut made);
        }
    }
    let device = |path: &str| stat(path).map(|stat| stat.st_dev).at(LAYER, path);
    Ok(Own([device("/")?, device(TMP)?]))
}

fn pinned(folder: &Path) -> Result<(), Errno> {
    mkdir(folder, Mode::from_raw_mode(0o1777))?;
    let itself = open_tree(CWD, folder, clone_flags())?;
    move_mount(&itself, c"", CWD, folder, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn clone_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC
}

/// Mounts each file at its path, after everything else is in its place.
pub(crate) fn expose(files: &[Injection], content: OwnedFd, own: &Own) -> Result<(), Report> {
    // Each file takes whole pages, which are 64 KiB at most. The root folder takes a page, too.
    let bytes = files.iter().fold(1 << 16, |sum: u64, file| {
        sum.saturating_add(file.bytes).saturating_add(1 << 16)
    });
    let options = CString::new(format!(
        "mode=0755,size={bytes},nr_inodes={}",
        files.len().saturating_add(1)
    ));
    let options = options.map_err(|_| Errno::INVAL).at(LAYER, SITE)?;
    mount("tmpfs", SITE, "tmpfs", FLAGS, options.as_c_str()).at(LAYER, SITE)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let site = open(SITE, flags, Mode::empty()).at(LAYER, SITE)?;

    let content = File::from(content);
    let mut from = 0;
    for (number, file) in files.iter().enumerate() {
        write(&site, number, &content, from, file.bytes)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .at(LAYER, "an injected file")?;
        from += file.bytes;
    }
    mount_remount(SITE, FLAGS | MountFlags::RDONLY, c"").at(LAYER, "read-only files")?;
    for (number, file) in files.iter().enumerate() {
        let place = place(path(file), own).map_err(|errno| refused(&file.at, errno))?;
        let tree = open_tree(&site, number.to_string(), clone_flags()).at(LAYER, "an injected file")?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, c"", &place, c"", flags).map_err(|errno| refused(&file.at, errno))?;
    }
    unmount(SITE, UnmountFlags::DETACH).at(LAYER, SITE)
}

fn path(file: &Injection) -> &Path {
    Path::new(OsStr::from_bytes(&file.at))
}

fn refused(at: &[u8], errno: Errno) -> Report {
    Report::Injection {
        at: at.into(),
        errno: errno.raw_os_error(),
    }
}

/// Copies a part of `content`, and verifies the copy.
fn write(site: &OwnedFd, number: usize, content: &File, from: u64, bytes: u64) -> io::Result<()> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = File::from(openat(site, number.to_string(), flags, Mode::from_raw_mode(0o444))?);
    pieces(content, from, bytes, |at, piece| file.write_all_at(piece, at))?;
    let mut arrived = Vec::new();
    pieces(content, from, bytes, |at, piece| {
        arrived.resize(piece.len(), 0);
        file.read_exact_at(&mut arrived, at)?;
        if arrived == piece {
            Ok(())
        } else {
            Err(Errno::IO.into())
        }
    })?;
    if file.metadata()?.len() == bytes {
        Ok(())
    } else {
        Err(Errno::IO.into())
    }
}

/// Reads a part of `content` piece by piece; the offset of each is counted from the beginning of the part.
fn pieces(content: &File, from: u64, bytes: u64, mut each: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    const PIECE: u64 = 1 << 16;
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < bytes {
        let length = PIECE.min(bytes - at);
        buffer.resize(usize::try_from(length).unwrap_or_default(), 0);
        content.read_exact_at(&mut buffer, from.saturating_add(at))?;
        each(at, &buffer)?;
        at += length;
    }
    Ok(())
}

/// Opens the mount point for a file, and makes the missing folders and the file. `EXDEV`: init did not make a folder on the path.
/// Follows no symbolic link.
fn place(at: &Path, own: &Own) -> Result<OwnedFd, Errno> {
    let mut here = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    // The first component is the root.
    let mut names = at.iter().skip(1).peekable();
    while let Some(name) = names.next() {
        if !own.0.contains(&fstat(&here)?.st_dev) {
            return Err(Errno::XDEV);
        }
        let (made, kind, otherwise) = if names.peek().is_some() {
            let made = mkdirat(&here, name, Mode::from_raw_mode(0o755));
            (made, FileType::Directory, Errno::NOTDIR)
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let made = openat(&here, name, flags, Mode::from_raw_mode(0o444)).map(drop);
            (made, FileType::RegularFile, Errno::EXIST)
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        here = openat(
            &here,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if FileType::from_raw_mode(fstat(&here)?.st_mode) != kind {
            return Err(otherwise);
        }
    }
    Ok(here)
}
