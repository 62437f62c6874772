//! The files that a build reads, and how they are told apart from those of another moment.
//!
//! The folder may hold whatever hostile processes put there: no symbolic link is followed, and the number of files is bounded. A
//! file's times of modification can be set by its owner, but not its inode, its time of birth and its time of change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// The most files and folders that are looked at.
const MOST: usize = 200_000;

/// What a kind of build reads of its folder.
#[derive(Debug)]
pub(crate) struct Found {
    /// The endings of the files that it finds by itself, at any depth; none if it may read any file.
    pub(crate) extensions: Option<&'static [&'static str]>,
    /// Names of the folder itself. A folder with such a name counts as a whole.
    pub(crate) names: &'static [&'static str],
    /// Paths that it looks for in the folder and in each folder above it.
    pub(crate) above: &'static [&'static str],
    /// Other paths.
    pub(crate) paths: Vec<PathBuf>,
}

/// What the build of one folder reads, as far as processes can write there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reads {
    extensions: Option<Vec<String>>,
    /// Files and folders that count as a whole.
    paths: BTreeSet<PathBuf>,
    /// The folders to look in.
    below: BTreeSet<PathBuf>,
    /// Files and folders that processes cannot change, unless the user replaces them.
    protected: BTreeSet<PathBuf>,
}

/// The files of a moment, by their paths as text.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Listing(BTreeMap<String, State>);

/// What distinguishes a file from another, and from itself at another moment.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    device: u64,
    inode: u64,
    /// In nanoseconds since 1970, if the file system knows it. An inode's number is used again.
    born: Option<u64>,
    /// None for what processes cannot change: an author may edit it while they run.
    content: Option<Content>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    length: u64,
    changed: (i64, i64),
}

impl Reads {
    /// What the build in `folder` reads that processes can make or change, if they can write to the `writable` folders except what
    /// is `protected`. None if they can write nowhere there. All are paths without symbolic links.
    pub(crate) fn new(folder: &Path, found: Found, writable: &[PathBuf], protected: &[PathBuf]) -> Option<Self> {
        let can_write = |path: &Path| writable.iter().any(|place| path.starts_with(place));
        let below: BTreeSet<PathBuf> = writable
            .iter()
            .filter_map(|place| match () {
                () if folder.starts_with(place) => Some(folder),
                () if place.starts_with(folder) => Some(place),
                () => None,
            })
            .map(Path::to_owned)
            .collect();
        let above = folder.ancestors();
        let above = above.flat_map(|folder| found.above.iter().map(|name| folder.join(name)));
        let names = found.names.iter().map(|name| folder.join(name));
        let paths: BTreeSet<PathBuf> = above
            .chain(names)
            .chain(found.paths)
            .filter(|path| can_write(path))
            .collect();
        let is_inside = |path: &&PathBuf| path.as_path() != folder && !folder.starts_with(path);
        (!below.is_empty() || !paths.is_empty()).then(|| Self {
            extensions: found
                .extensions
                .map(|extensions| extensions.iter().map(ToString::to_string).collect()),
            paths,
            below,
            protected: protected.iter().filter(is_inside).cloned().collect(),
        })
    }

    /// What exists from now on is no longer protected if it does not exist now.
    pub(crate) fn protect_what_exists(&mut self) {
        self.protected.retain(|path| path.symlink_metadata().is_ok());
    }

    /// The files as they are.
    ///
    /// # Errors
    /// A folder that cannot be read, or too many files.
    pub(crate) fn listing(&self) -> io::Result<Listing> {
        let mut files = BTreeMap::new();
        for path in &self.paths {
            match path.symlink_metadata() {
                Ok(metadata) => {
                    files.insert(text(path), self.state(path, &metadata));
                }
                // A file in place of the folder above it is listed itself, if a build reads it.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(at(path, &error)),
            }
        }
        let mut left: Vec<PathBuf> = self.below.iter().cloned().collect();
        let mut seen = 0_usize;
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(&folder).map_err(|error| at(&folder, &error))? {
                let path = entry.map_err(|error| at(&folder, &error))?.path();
                seen += 1;
                if seen > MOST {
                    return Err(io::Error::other(format!("too many files, more than {MOST}")));
                }
                let metadata = match path.symlink_metadata() {
                    Ok(metadata) => metadata,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(at(&path, &error)),
                };
                if self.paths.contains(&path) {
                    continue;
                }
                if self.protected.contains(&path) {
                    files.insert(text(&path), self.state(&path, &metadata));
                } else if metadata.is_dir() {
                    left.push(path);
                } else if metadata.is_symlink() || self.is_read(&path) {
                    files.insert(text(&path), self.state(&path, &metadata));
                }
            }
        }
        Ok(Listing(files))
    }

    /// A link has no ending that counts, because it may lead to a folder of sources.
    fn is_read(&self, path: &Path) -> bool {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let extensions = self.extensions.as_ref();
        extensions.is_none_or(|extensions| extensions.iter().any(|other| *other == extension))
    }

    fn state(&self, path: &Path, metadata: &Metadata) -> State {
        let born = metadata.created().ok();
        State {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: born.and_then(|time| u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()),
            content: (!self.protected.contains(path)).then(|| Content {
                length: metadata.len(),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            }),
        }
    }
}

impl Listing {
    /// The files of this moment that did not exist `before`, or were other ones. What was removed is not told: a build without a
    /// file fails, or uses what its author wrote.
    pub(crate) fn since(&self, before: &Self) -> BTreeSet<String> {
        let is_other = |(path, state): &(&String, &State)| before.0.get(*path) != Some(*state);
        self.0.iter().filter(is_other).map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }
}

/// The path, with what is no UTF-8 as escapes. No two paths have the same text.
fn text(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.contains('\\') => text.to_owned(),
        _ => path.as_os_str().as_encoded_bytes().escape_ascii().to_string(),
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Capsule(tempfile::TempDir);

    impl Capsule {
        fn new() -> Self {
            let capsule = Self(tempfile::tempdir().unwrap());
            for file in ["src/lib.py", "capsule.py", "plain/notes.txt"] {
                capsule.write(file, "x");
            }
            capsule
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
            fs::write(self.path(name), text).unwrap();
        }

        fn reads(&self, folder: &str, writable: &str) -> Option<Reads> {
            let found = Found {
                extensions: Some(&["py"]),
                names: &[".venv"],
                above: &["Cargo.toml"],
                paths: Vec::new(),
            };
            let protected = ["src", "capsule.py"].map(|name| self.path(name));
            Reads::new(&self.path(folder), found, &[self.path(writable)], &protected)
        }

        /// What is new after `change`.
        fn new_after(&self, reads: &Reads, change: impl FnOnce()) -> Vec<String> {
            let before = reads.listing().unwrap();
            change();
            let new = reads.listing().unwrap().since(&before);
            let base = text(&self.path(""));
            new.iter().map(|path| path.replace(&base, "")).collect()
        }
    }

    #[test]
    fn b6_what_a_build_would_read_is_found_and_what_the_author_edits_is_not() {
        let capsule = Capsule::new();
        let reads = capsule.reads("", "").unwrap();
        let new = |change: &dyn Fn()| capsule.new_after(&reads, change);
        assert_eq!(new(&|| capsule.write("plain/data.txt", "x")), [""; 0]);
        // Protected files are edited by the author alone.
        assert_eq!(new(&|| capsule.write("capsule.py", "xy")), [""; 0]);
        assert_eq!(new(&|| capsule.write("src/more.py", "xy")), [""; 0]);
        // Unless another file gets the name, which loses the protection.
        let replaced = || fs::rename(capsule.path("src/more.py"), capsule.path("capsule.py")).unwrap();
        assert_eq!(new(&replaced), ["capsule.py"]);
        assert_eq!(new(&|| capsule.write("plain/json.py", "x")), ["plain/json.py"]);
        assert_eq!(new(&|| capsule.write("plain/json.py", "xy")), ["plain/json.py"]);
        assert_eq!(new(&|| capsule.write(".venv/bin/tool", "x")), [".venv"]);
        assert_eq!(new(&|| capsule.write("Cargo.toml", "x")), ["Cargo.toml"]);
        assert_eq!(new(&|| symlink("plain", capsule.path("json")).unwrap()), ["json"]);
    }

    #[test]
    fn b6_only_what_processes_can_write_is_looked_at() {
        let capsule = Capsule::new();
        capsule.write("shop/capsule.py", "x");
        capsule.write("shop/data/x", "x");
        // A workspace around the folder: also what is looked for above the folder, and nothing else there.
        let reads = capsule.reads("shop", "").unwrap();
        assert_eq!(
            capsule.new_after(&reads, || capsule.write("Cargo.toml", "x")),
            ["Cargo.toml"]
        );
        assert_eq!(capsule.new_after(&reads, || capsule.write("other.py", "x")), [""; 0]);
        // A workspace in the folder.
        let reads = capsule.reads("shop", "shop/data").unwrap();
        assert_eq!(capsule.new_after(&reads, || capsule.write("shop/y.py", "x")), [""; 0]);
        let inside = capsule.new_after(&reads, || capsule.write("shop/data/y.py", "x"));
        assert_eq!(inside, ["shop/data/y.py"]);
        // A workspace elsewhere.
        assert!(capsule.reads("shop", "plain").is_none());
    }

    /// A name that is no UTF-8 must not hide behind another.
    #[test]
    fn b6_every_name_has_a_text_of_its_own() {
        use std::os::unix::ffi::OsStrExt as _;
        let names = [&b"a\xff"[..], b"a\xfe", b"a\\xff", b"a"];
        let texts = names.map(|name| text(Path::new(std::ffi::OsStr::from_bytes(name))));
        assert_eq!(BTreeSet::from(texts).len(), 4);
    }
}
