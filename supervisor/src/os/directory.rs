//! Open handles of directories, and the resolution of a path beneath one so that nothing can change it between check and use.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Opens a directory, following symbolic links. The handle keeps the directory reachable, even if its path names
/// another one later.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens the directory at `path` beneath `root`. A path that leaves `root`, also by a symbolic link, is `EXDEV`.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // EAGAIN: a file was renamed meanwhile and the kernel cannot tell whether `..` stayed beneath. A new try succeeds once the
    // renames stop. The bound is for a guest that renames in a loop to keep the host here.
    for _ in 0..64 {
        match openat2(root.as_fd(), path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Opens the regular file at `path` beneath `root` for reading. A symbolic link anywhere on the path is `ELOOP`. No
/// file that a guest puts there can block the host.
pub(crate) fn open_file_beneath(root: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = File::from(openat2(root.as_fd(), path, flags, Mode::empty(), resolve)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Errno::INVAL.into())
    }
}
