//! What processes made where a build reads, kept from one command to the next: a file for each command that has processes, in a
//! folder for each folder that is built.
//!
//! These constraints shape it:
//! - The file is written before the first process starts, with the files as they are then. So a command that is killed leaves a
//!   file that compares with the moment before its processes, and not none.
//! - The command holds the file's lock for its life. Without the lock, the file of a killed command would look like that of a
//!   command that still runs, and what the user accepts could never be forgotten.
//! - What cannot be read or compared refuses the build, because a hostile process may have made it so.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::listing::{Listing, Reads};
use crate::user_dirs::changes_dir;

/// The most files that a message names.
const NAMED: usize = 10;

/// Why a folder is not built.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error(
        "processes of the capsule ran where they could make or change these files, and a build of {} would use them: {}. Examine \
         them; then remove them, or build with them by --accept-changes. With --workspace DIR the processes work in another folder",
        folder.display(), named(files)
    )]
    Changed { folder: PathBuf, files: BTreeSet<String> },
    #[error(
        "cannot tell what processes of the capsule made in {}, which a build would use: {error}. Examine the folder, remove what the \
         processes made, and build by --accept-changes",
        folder.display()
    )]
    Unknown { folder: PathBuf, error: io::Error },
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    reads: Reads,
    /// The files before the first process started, or when the user accepted what was new.
    before: Listing,
    /// What the processes made, if the command ended them itself.
    made: Option<BTreeSet<String>>,
}

/// A command whose processes can write where a build reads.
#[derive(Debug)]
pub(crate) struct Watch {
    folder: PathBuf,
    path: PathBuf,
    /// Locked.
    file: File,
}

impl Watch {
    /// Keeps the files of `folder` as they are. To be called when the build has ended and no process has started.
    ///
    /// If they cannot be kept, a user is warned that the next build is not checked.
    pub(crate) fn begin(folder: PathBuf, mut reads: Reads) -> Option<Self> {
        reads.protect_what_exists();
        let place = place(&folder)?;
        match Self::create(&place, folder.clone(), reads) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(
                    "what the capsule's processes make in {} cannot be told from its sources: {error}; use another folder as the \
                     workspace",
                    folder.display()
                );
                None
            }
        }
    }

    fn create(place: &Path, folder: PathBuf, reads: Reads) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let before = reads.listing()?;
        fs::create_dir_all(place)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Not read by others until it is complete and locked. A process id is used again.
        let mut path = place.join(format!("{}-{number}.new", std::process::id()));
        drop(fs::remove_file(&path));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        let record = Record {
            reads,
            before,
            made: None,
        };
        write(&mut file, &record)?;
        let mut kept = 0_u32;
        loop {
            let name = place.join(format!("{}-{number}-{kept}.json", std::process::id()));
            // Unlike a rename, it does not replace the file of an earlier command with this process id.
            match fs::hard_link(&path, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => kept += 1,
                linked => {
                    drop(fs::remove_file(&path));
                    linked?;
                    path = name;
                    break;
                }
            }
        }
        Ok(Self { folder, path, file })
    }

    /// Compares, tells the user what is new, and keeps it for the next build. To be called when all processes have ended.
    pub(crate) fn end(mut self) {
        match self.compare() {
            Ok(made) if made.is_empty() => {}
            Ok(made) => tracing::warn!(
                "made or changed while the processes ran: {}. The next build of {} would use it, and is refused until you have \
                 removed it or accepted it by --accept-changes; examine it first",
                named(&made),
                self.folder.display()
            ),
            // The file stays as it is, so the next build is refused, or can compare.
            Err(error) => tracing::warn!(
                "cannot tell what the processes made in {}: {error}; the next build there asks again",
                self.folder.display()
            ),
        }
    }

    fn compare(&mut self) -> io::Result<BTreeSet<String>> {
        // Another command may have accepted what was new since.
        let record = read(&mut self.file)?;
        let made = record.reads.listing()?.since(&record.before);
        if made.is_empty() {
            fs::remove_file(&self.path)?;
        } else {
            let record = Record {
                made: Some(made.clone()),
                ..record
            };
            write(&mut self.file, &record)?;
        }
        Ok(made)
    }
}

/// Whether `folder` (a path without symbolic links) can be built. With `accept`, what processes made there until now is the user's.
pub(crate) fn check(folder: &Path, accept: bool) -> Result<(), Refused> {
    match place(folder) {
        Some(place) => check_in(&place, folder, accept),
        None => Ok(()),
    }
}

fn check_in(place: &Path, folder: &Path, accept: bool) -> Result<(), Refused> {
    let unknown = |error| Refused::Unknown {
        folder: folder.to_owned(),
        error,
    };
    let entries = match fs::read_dir(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(unknown)?,
    };
    let mut files = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(unknown)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.extend(new_in(&path, accept).map_err(unknown)?);
        }
    }
    if files.is_empty() {
        return Ok(());
    }
    let folder = folder.to_owned();
    Err(Refused::Changed { folder, files })
}

/// What is new by the record at `path`. It is empty if the user accepts it, and then what is new from now on counts.
fn new_in(path: &Path, accept: bool) -> io::Result<BTreeSet<String>> {
    let mut file = match File::options().read(true).write(true).open(path) {
        // Its command has ended meanwhile, and nothing is new.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        file => file?,
    };
    // Shared, so that two builds do not take each other for the command whose processes run.
    let runs = match file.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => return Err(error),
    };
    if accept && !runs {
        fs::remove_file(path)?;
        return Ok(BTreeSet::new());
    }
    let record = read(&mut file)?;
    let now = record.reads.listing()?;
    let new = match &record.made {
        Some(made) => made.iter().filter(|path| now.has(path)).cloned().collect(),
        None => now.since(&record.before),
    };
    if new.is_empty() && !runs {
        fs::remove_file(path)?;
    }
    if accept {
        write(&mut file, &Record { before: now, ..record })?;
        return Ok(BTreeSet::new());
    }
    Ok(new)
}

/// The folder of the records of one folder that is built.
fn place(folder: &Path) -> Option<PathBuf> {
    let name = blake3::hash(folder.as_os_str().as_bytes()).to_hex();
    Some(changes_dir()?.join(name.as_str()))
}

fn read(file: &mut File) -> io::Result<Record> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// In its place, because the lock belongs to the file. A command that is killed meanwhile leaves a file that refuses the build.
fn write(file: &mut File, record: &Record) -> io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&bytes)
}

fn named(files: &BTreeSet<String>) -> String {
    let mut text: Vec<String> = files.iter().take(NAMED).cloned().collect();
    if files.len() > NAMED {
        text.push(format!("and {} more", files.len() - NAMED));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::listing::Found;
    use super::*;

    struct Case(tempfile::TempDir);

    impl Case {
        fn new() -> Self {
            let case = Self(tempfile::tempdir().unwrap());
            fs::create_dir(case.folder()).unwrap();
            case
        }

        fn folder(&self) -> PathBuf {
            self.0.path().canonicalize().unwrap().join("capsule")
        }

        fn records(&self) -> PathBuf {
            self.0.path().join("records")
        }

        fn watch(&self) -> Watch {
            let found = Found {
                extensions: Some(&["py"]),
                names: &[],
                above: &[],
                paths: Vec::new(),
            };
            let reads = Reads::new(&self.folder(), found, &[self.folder()], &[]).unwrap();
            Watch::create(&self.records(), self.folder(), reads).unwrap()
        }

        fn make(&self, name: &str) {
            fs::write(self.folder().join(name), "x").unwrap();
        }

        fn check(&self, accept: bool) -> Result<(), String> {
            check_in(&self.records(), &self.folder(), accept).map_err(|error| error.to_string())
        }

        fn kept(&self) -> usize {
            fs::read_dir(self.records()).unwrap().count()
        }
    }

    #[test]
    fn b6_what_was_made_refuses_the_build_until_it_is_accepted_or_removed() {
        let case = Case::new();
        case.make("before.py");
        let watch = case.watch();
        case.make("json.py");
        watch.end();
        // The author's, between two runs.
        case.make("later.py");
        let error = case.check(false).unwrap_err();
        assert!(
            error.contains("json.py") && error.contains("--accept-changes"),
            "{error}"
        );
        assert!(!error.contains("before.py") && !error.contains("later.py"), "{error}");
        case.check(true).unwrap();
        case.check(false).unwrap();

        let watch = case.watch();
        case.make("x.py");
        watch.end();
        fs::remove_file(case.folder().join("x.py")).unwrap();
        case.check(false).unwrap();
        assert_eq!(case.kept(), 0);
    }

    #[test]
    fn b6_a_command_that_is_killed_leaves_what_its_processes_made() {
        let case = Case::new();
        let watch = case.watch();
        case.make("json.py");
        // As the kernel does, it frees the lock.
        drop(watch);
        for _ in 0..2 {
            assert!(case.check(false).unwrap_err().contains("json.py"));
        }
        case.check(true).unwrap();
        assert_eq!(case.kept(), 0);
    }

    #[test]
    fn b6_a_command_that_still_runs_counts_and_what_was_accepted_is_not_told_again() {
        let case = Case::new();
        let watch = case.watch();
        case.check(false).unwrap();
        case.make("a.py");
        assert!(case.check(false).unwrap_err().contains("a.py"));
        case.check(true).unwrap();
        case.check(false).unwrap();
        case.make("b.py");
        watch.end();
        let error = case.check(false).unwrap_err();
        assert!(error.contains("b.py") && !error.contains("a.py"), "{error}");
    }

    #[test]
    fn b6_a_record_that_cannot_be_read_refuses_the_build() {
        let case = Case::new();
        let watch = case.watch();
        watch.file.set_len(3).unwrap();
        drop(watch);
        let error = case.check(false).unwrap_err();
        assert!(error.contains("cannot tell"), "{error}");
        case.check(true).unwrap();
        case.check(false).unwrap();
    }

    #[test]
    fn b6_a_command_without_changes_leaves_no_record() {
        let case = Case::new();
        let watch = case.watch();
        case.make("notes.txt");
        watch.end();
        assert_eq!(case.kept(), 0);
    }
}
