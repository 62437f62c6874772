//! The folder of a store: one file for each owner, which is replaced as a whole, and one lock file beside it.
//!
//! Everything here blocks. Files are opened beneath the handle of the folder and through no symbolic link, so a name in the folder
//! cannot lead elsewhere. The folder and the files must be this user's alone.

use std::fs::{DirBuilder, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock, fstat, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::error::{Error, OpenError};

/// The largest file that is read: more than the highest limits make.
const FILE_MAX: u64 = 128 << 20;

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

/// The lock of an owner. Dropping it, or the end of the host, frees it.
#[derive(Debug)]
pub(super) struct Lock {
    _file: OwnedFd,
}

impl Folder {
    /// Opens the folder, and makes it if it does not exist.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io {
            dir: dir.to_owned(),
            source,
        };
        let refused = |reason| OpenError::NotPrivate {
            dir: dir.to_owned(),
            reason,
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = match rustix::fs::open(dir, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(refused("it is a symbolic link; name the folder itself")),
            Err(errno) => return Err(failed(errno.into())),
        };
        let metadata = fstat(&handle).map_err(|errno| failed(errno.into()))?;
        if metadata.st_uid != geteuid().as_raw() {
            return Err(refused("it belongs to another user"));
        }
        if metadata.st_mode & 0o077 != 0 {
            return Err(refused("other users have access to it; `chmod 700` ends that"));
        }
        let path = dir.canonicalize().map_err(failed)?;
        Ok(Self { path, handle })
    }

    /// Where the folder was when it was opened, without symbolic links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn damaged(&self, name: &str, reason: &'static str) -> Error {
        Error::Damaged {
            path: self.path.join(name),
            reason,
        }
    }

    /// Takes the lock of an owner, if no other host, or other job of this host, has it.
    pub(super) fn try_lock(&self, name: &str) -> Result<Option<Lock>, Error> {
        let name = format!("{name}.lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.handle, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            Err(Errno::LOOP) => return Err(self.damaged(&name, "it is a symbolic link")),
            Err(errno) => return Err(errno.into()),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The content of a file; none if it does not exist.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        // Opened without blocking, in case it is a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.handle, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(self.damaged(name, "it is a symbolic link")),
            Err(errno) => return Err(errno.into()),
        };
        let metadata = fstat(&file)?;
        if !FileType::from_raw_mode(metadata.st_mode).is_file() {
            return Err(self.damaged(name, "it is not a regular file"));
        }
        if metadata.st_uid != geteuid().as_raw() {
            return Err(self.damaged(name, "it belongs to another user"));
        }
        if metadata.st_mode & 0o077 != 0 {
            return Err(self.damaged(name, "other users have access to it"));
        }
        let mut content = Vec::new();
        File::from(file).take(FILE_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 > FILE_MAX {
            return Err(self.damaged(name, "it is too large"));
        }
        Ok(Some(content))
    }

    /// Replaces the content of a file. The caller has the owner's lock.
    ///
    /// At any moment, and also after a loss of power, the name has the old content or the new one.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let new = format!("{name}.new");
        let replaced = self.write_new(&new, content).and_then(|()| {
            renameat(&self.handle, &new, &self.handle, name)?;
            fsync(self.handle.as_fd())?;
            Ok(())
        });
        if replaced.is_err() {
            // If the rename has taken place, there is no such file. Where it cannot be removed, the next change does it.
            let _: Result<(), Errno> = unlinkat(&self.handle, &new, AtFlags::empty());
        }
        replaced
    }

    fn write_new(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        match unlinkat(&self.handle, name, AtFlags::empty()) {
            // A host that died left it.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(content)?;
        file.sync_all()?;
        Ok(())
    }
}
