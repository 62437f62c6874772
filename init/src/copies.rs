//! Copies small files that no overlay can show, so that trees share no inode of them either.
//!
//! Examples are the files of `/etc` that a container engine mounts one by one. A copy is a file in memory, which is mounted like
//! any other file. It does not change when the host's file changes.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// The longest file that is copied, in bytes. The kernel keeps it in memory once for every tree.
const LONGEST: u64 = 1 << 20;

/// A copy of `source` in `folder`, with a number as its name that no other copy has. Refuses a source that is not a file, is too
/// long or may not be read by all users.
pub(crate) fn copy(source: &Path, folder: &Path, number: usize) -> io::Result<PathBuf> {
    // Opened without blocking, in case the file has become a FIFO meanwhile.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(source)?;
    let found = file.metadata()?;
    let mode = found.permissions().mode();
    // Root can read files that the command's user may not.
    let readable = mode & 0o004 != 0 || !geteuid().is_root();
    if !found.is_file() || found.len() > LONGEST || !readable {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut content)?;
    let path = folder.join(number.to_string());
    let mut copy = File::options().write(true).create_new(true).open(&path)?;
    copy.write_all(&content)?;
    copy.set_permissions(Permissions::from_mode(mode & 0o555))?;
    Ok(path)
}
