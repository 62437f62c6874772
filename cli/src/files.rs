//! Writes files for capsule authors: all or none.
//!
//! The folder may lie where hostile programs wrote before. So no symbolic link is followed below it, and no file is replaced
//! unless the user asked for it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

/// A file to write, by its path within a folder.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// Why files were not written. None was left behind.
#[derive(Debug, Error)]
pub(crate) enum NotWritten {
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("cancelled")]
    Cancelled,
    #[error("{} differ from what would be written; --force replaces them", list(.0))]
    Differ(Vec<PathBuf>),
}

impl Content {
    pub(crate) fn new(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            bytes: bytes.into(),
        }
    }
}

/// Makes `folder`, which must not exist, with these files.
///
/// They are written into a folder beside it, which then gets the name in one step, so that no other program sees an incomplete one.
/// Another thread may cancel it: then nothing is left.
pub(crate) fn create_folder(folder: &Path, files: &[Content], cancelled: &AtomicBool) -> Result<(), NotWritten> {
    if folder.symlink_metadata().is_ok() {
        return Err(NotWritten::Exists(folder.to_owned()));
    }
    let mut name = OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = folder.with_file_name(name);
    let written = fs::create_dir(&beside)
        .map_err(io_at(&beside))
        .and_then(|()| {
            files
                .iter()
                .try_for_each(|file| match cancelled.load(Ordering::Relaxed) {
                    true => Err(NotWritten::Cancelled),
                    false => write_new(&beside, file),
                })
        })
        .and_then(|()| {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            // Does not replace a folder that was made meanwhile.
            match renameat_with(CWD, &beside, CWD, folder, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(()),
                Err(rustix::io::Errno::EXIST) => Err(NotWritten::Exists(folder.to_owned())),
                Err(error) => Err(io_at(folder)(error.into())),
            }
        });
    if written.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_dir_all(&beside));
    }
    written
}

/// Writes these files into `folder`, which is made if need be. Returns how many were written; the others were there already.
///
/// With `force` a file that differs is replaced. Without it none is written if one differs.
pub(crate) fn complete_folder(folder: &Path, files: &[Content], force: bool) -> Result<usize, NotWritten> {
    let mut missing = Vec::new();
    let mut different = Vec::new();
    for file in files {
        let path = folder.join(&file.path);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() && fs::read(&path).is_ok_and(|bytes| bytes == file.bytes) => {}
            Ok(_) => different.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(file),
            Err(error) => return Err(io_at(&path)(error)),
        }
    }
    if !different.is_empty() && !force {
        let differ = different.iter().map(|file| folder.join(&file.path));
        return Err(NotWritten::Differ(differ.collect()));
    }
    fs::create_dir_all(folder).map_err(io_at(folder))?;
    for file in &different {
        let path = folder.join(&file.path);
        fs::remove_file(&path).map_err(io_at(&path))?;
    }
    let written = missing.len() + different.len();
    for file in missing.into_iter().chain(different) {
        write_new(folder, file)?;
    }
    Ok(written)
}

/// Writes a file that does not exist, and the folders on the way to it.
fn write_new(base: &Path, file: &Content) -> Result<(), NotWritten> {
    let mut folder = base.to_owned();
    for name in file.path.parent().into_iter().flatten() {
        folder.push(name);
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_folder = fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir());
                if !is_folder {
                    return Err(io_at(&folder)(io::ErrorKind::NotADirectory.into()));
                }
            }
            Err(error) => return Err(io_at(&folder)(error)),
        }
    }
    let path = base.join(&file.path);
    File::create_new(&path)
        .and_then(|mut created| created.write_all(&file.bytes))
        .map_err(io_at(&path))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> NotWritten {
    let path = path.to_owned();
    move |error| NotWritten::Io {
        path: path.clone(),
        error,
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("x");
        // A file where a folder is needed: the second cannot be written.
        let files = [Content::new("a", "1"), Content::new("a/b", "2")];
        let error = create_folder(&folder, &files, &AtomicBool::new(false)).unwrap_err();
        assert!(matches!(error, NotWritten::Io { .. }), "{error}");
        assert_eq!(entries(base.path()), [""; 0]);
    }

    #[test]
    fn a_cancelled_folder_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let files = [Content::new("a", "1")];
        let error = create_folder(&base.path().join("x"), &files, &AtomicBool::new(true)).unwrap_err();
        assert!(matches!(error, NotWritten::Cancelled), "{error}");
        assert_eq!(entries(base.path()), [""; 0]);
    }

    #[test]
    fn what_exists_is_left_as_it_is() {
        let base = tempfile::tempdir().unwrap();
        let elsewhere = base.path().join("elsewhere");
        let folder = base.path().join("x");
        for make in [
            &|| fs::create_dir(&folder).unwrap() as (),
            &|| fs::write(&folder, "mine").unwrap(),
            &|| std::os::unix::fs::symlink(&elsewhere, &folder).unwrap(),
        ] as [&dyn Fn(); 3]
        {
            make();
            let error = create_folder(&folder, &[Content::new("a", "1")], &AtomicBool::new(false)).unwrap_err();
            assert!(matches!(error, NotWritten::Exists(_)), "{error}");
            assert_eq!(entries(base.path()), ["x"]);
            if fs::remove_dir(&folder).is_err() {
                fs::remove_file(&folder).unwrap();
            }
        }
    }

    #[test]
    fn a_file_that_differs_is_replaced_by_force_only_and_a_link_is_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("wit");
        let files = [Content::new("a", "1"), Content::new("deps/b", "2")];
        assert_eq!(complete_folder(&folder, &files, false).unwrap(), 2);
        assert_eq!(complete_folder(&folder, &files, false).unwrap(), 0);

        let victim = base.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        fs::remove_file(folder.join("a")).unwrap();
        fs::remove_file(folder.join("deps/b")).unwrap();
        std::os::unix::fs::symlink(&victim, folder.join("deps/b")).unwrap();
        let error = complete_folder(&folder, &files, false).unwrap_err();
        assert!(matches!(error, NotWritten::Differ(_)), "{error}");
        assert!(!folder.join("a").exists(), "none is written if one differs");

        assert_eq!(complete_folder(&folder, &files, true).unwrap(), 2);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(fs::read_to_string(folder.join("deps/b")).unwrap(), "2");
    }
}
