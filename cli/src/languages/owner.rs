//! Gives what root makes in a capsule's folder to the owner of that folder, as whom a confined build of root's runs.
//!
//! The owner's processes may rename folders, and put links into their place, while root works there. So each step holds the
//! descriptor of the folder before it, and follows no symbolic link. A file with a second name is left alone, because that name may
//! be one of the system's.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, mkdirat, openat};
use rustix::io::Errno;

/// The folder of a capsule, and its owner.
pub(super) struct Owner {
    folder: OwnedFd,
    /// None if this command is not root, so that everything it makes belongs to its own user.
    owner: Option<(Uid, Gid)>,
}

impl Owner {
    /// Opens the folder.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let folder = openat(
            CWD,
            folder,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let stat = fstat(&folder)?;
        let is_root = rustix::process::geteuid().is_root();
        Ok(Self {
            folder,
            owner: is_root.then(|| (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))),
        })
    }

    /// Makes a folder, unless it is there. The folder that it lies in exists.
    pub(super) fn make_folder(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match mkdirat(
            &parent,
            name,
            Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH,
        ) {
            Ok(()) => self.give(step(parent.as_fd(), name, OFlags::DIRECTORY)?),
            Err(Errno::EXIST) => step(parent.as_fd(), name, OFlags::DIRECTORY).map(drop),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives away a file, or a folder with all that is in it.
    pub(super) fn hand_over(&self, path: &Path) -> io::Result<()> {
        if self.owner.is_none() {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        self.hand_over_in(parent.as_fd(), name)
    }

    fn hand_over_in(&self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let file = step(parent, name, OFlags::empty())?;
        // Before the owner can write there.
        if FileType::from_raw_mode(fstat(&file)?.st_mode).is_dir() {
            let readable = openat(
                &file,
                ".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            for entry in Dir::read_from(&readable)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if !matches!(name, b"." | b"..") {
                    self.hand_over_in(file.as_fd(), std::os::unix::ffi::OsStrExt::from_bytes(name))?;
                }
            }
        }
        self.give(file)
    }

    /// Gives away an open file. What another user owns already stays as it is.
    pub(super) fn give(&self, file: impl AsFd) -> io::Result<()> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        let stat = fstat(&file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_only_here = kind.is_dir() || (kind.is_file() && stat.st_nlink == 1);
        if stat.st_uid == 0 && is_only_here {
            chownat(&file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    }

    /// The folder of a path, which is relative to the capsule's folder, and its last name.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let mut folder = self.folder.try_clone()?;
        let mut names = path.components();
        let Some(Component::Normal(last)) = names.next_back() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        for name in names {
            let Component::Normal(name) = name else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            folder = step(folder.as_fd(), name, OFlags::DIRECTORY)?;
        }
        Ok((folder, last))
    }
}

/// A file of a folder, or the link itself. It waits for no pipe.
fn step(folder: BorrowedFd<'_>, name: &OsStr, more: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags | more, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown, symlink};
    use std::path::PathBuf;

    use super::*;

    const USER: u32 = 12345;

    /// The folder `capsule` of an ordinary user, and `victim`, root's folder with root's file `mine`. None if this is not root.
    fn folders() -> Option<(tempfile::TempDir, PathBuf, PathBuf)> {
        if !rustix::process::geteuid().is_root() {
            assert!(
                std::env::var_os("CAPSULE_REQUIRE_ALL").is_none(),
                "missing: root, who makes files for others"
            );
            eprintln!("skipped: only root makes files for others");
            return None;
        }
        let base = tempfile::tempdir().unwrap();
        let [capsule, victim] = ["capsule", "victim"].map(|name| base.path().join(name));
        fs::create_dir_all(capsule.join("build/interfaces/deps")).unwrap();
        fs::create_dir_all(victim.join("interfaces")).unwrap();
        fs::write(victim.join("interfaces/mine"), "").unwrap();
        chown(&capsule, Some(USER), Some(USER)).unwrap();
        Some((base, capsule, victim))
    }

    fn uid(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().uid()
    }

    const INTERFACES: &str = "build/interfaces";

    #[test]
    fn b6_what_root_makes_is_given_with_all_that_is_in_it() {
        let Some((_base, capsule, _)) = folders() else { return };
        fs::write(capsule.join(INTERFACES).join("deps/a.wit"), "").unwrap();
        Owner::of(&capsule).unwrap().hand_over(Path::new(INTERFACES)).unwrap();
        for given in ["", "deps", "deps/a.wit"] {
            assert_eq!(uid(&capsule.join(INTERFACES).join(given)), USER, "{given}");
        }
    }

    #[test]
    fn b6_no_folder_that_the_owner_put_in_the_way_leads_to_another_file() {
        let Some((_base, capsule, victim)) = folders() else {
            return;
        };
        let owner = Owner::of(&capsule).unwrap();
        fs::rename(capsule.join("build"), capsule.join("away")).unwrap();
        symlink(&victim, capsule.join("build")).unwrap();
        owner.hand_over(Path::new(INTERFACES)).unwrap_err();
        owner.make_folder(Path::new("build/work")).unwrap_err();
        assert!(!victim.join("work").exists());
        assert_eq!(uid(&victim.join(INTERFACES.trim_start_matches("build/"))), 0);
        assert_eq!(uid(&victim.join("interfaces/mine")), 0);
    }

    #[test]
    fn b6_no_link_gives_away_a_file_of_root() {
        let Some((_base, capsule, victim)) = folders() else {
            return;
        };
        let owner = Owner::of(&capsule).unwrap();
        let inside = capsule.join(INTERFACES);
        fs::hard_link(victim.join("interfaces/mine"), inside.join("hard")).unwrap();
        symlink(victim.join("interfaces"), inside.join("soft")).unwrap();
        owner.hand_over(Path::new(INTERFACES)).unwrap();
        assert_eq!(uid(&inside), USER);
        assert_eq!(uid(&victim.join("interfaces")), 0);
        assert_eq!(uid(&victim.join("interfaces/mine")), 0);
    }
}
