//! The folder `build` of a capsule:
//!
//! - `build/work` belongs to the tools, for caches and the result. A confined build can write nowhere else.
//! - `build/interfaces`, which the tools read, and `build/NAME.wasm`, the component, are written by this command alone.
//!
//! Hostile authors may have put anything into the folder before, so this command follows no symbolic link in it, and waits for no
//! pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tokio::task::spawn_blocking;

use super::declared::{Declared, Language, Way};
use super::error::BuildError;
use super::owner::Owner;
use crate::console;
use crate::embedded::{C, WIT};
use crate::files::{Content, complete_folder};

/// The folder that tools may write to.
pub(crate) const WORK: &str = "build/work";

const BUILD: &str = "build";
const INTERFACES: &str = "build/interfaces";
const PRODUCT: &str = "build/work/component.wasm";

/// The largest result of a build that is read, in bytes. A component with a whole Python has 20 MB.
const PRODUCT_MAX: u64 = 512 << 20;

/// The folder of a capsule, and its folder `build`.
pub(crate) struct Site {
    folder: PathBuf,
    name: String,
    /// Of the folder, whose owner owns what is built.
    owner: Owner,
}

impl Site {
    pub(crate) fn prepare(folder: &Path, name: &str) -> Result<Self, BuildError> {
        if folder.to_str().is_none() {
            return Err(BuildError::NotText(folder.to_owned()));
        }
        let site = Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            owner: Owner::of(folder).map_err(place(folder))?,
        };
        for path in [BUILD, WORK] {
            site.make_folder(path)?;
        }
        Ok(site)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path in the folder. It is text, because the folder's own is.
    fn text(&self, path: &str) -> String {
        self.folder.join(path).to_string_lossy().into_owned()
    }

    pub(crate) fn component(&self) -> PathBuf {
        self.folder.join(BUILD).join(format!("{}.wasm", self.name))
    }

    pub(crate) fn stamp(&self) -> PathBuf {
        self.folder.join(BUILD).join(format!(".{}.stamp", self.name))
    }

    /// Where a tool writes its result.
    pub(crate) fn product(&self) -> String {
        self.text(PRODUCT)
    }

    /// Where a tool may keep what makes its next run faster.
    pub(crate) fn cache(&self) -> String {
        self.text("build/work/cache")
    }

    /// The folder with the interfaces that `declared` uses.
    pub(crate) fn interfaces(&self, declared: &Declared) -> String {
        self.text(declared.wit.as_deref().unwrap_or(INTERFACES))
    }

    /// Waits until no other build of this folder runs, and keeps others waiting until the file is closed.
    pub(crate) async fn lock(&self) -> Result<File, BuildError> {
        let path = self.folder.join(BUILD).join(".lock");
        let file = open(&path, File::options().create(true).truncate(false).write(true)).map_err(place(&path))?;
        self.owner.give(&file).map_err(place(&path))?;
        if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
            console::tell(&format!("waiting for another build of {}", self.folder.display()));
        }
        let locked = spawn_blocking(move || file.lock().map(|()| file)).await;
        locked
            .map_err(io::Error::other)
            .and_then(|locked| locked)
            .map_err(place(&path))
    }

    /// Removes the last result, and writes the interfaces as this command has them.
    pub(crate) fn clear(&self, declared: &Declared) -> Result<(), BuildError> {
        remove(Path::new(&self.product()))?;
        let interfaces = self.folder.join(INTERFACES);
        remove(&interfaces)?;
        self.make_folder(INTERFACES)?;
        let is_c = matches!(declared.way, Way::Language(Language::C, _));
        let files = if is_c { C } else { WIT };
        let files: Vec<Content> = files.iter().map(|file| Content::new(file.path, file.content)).collect();
        complete_folder(&interfaces, &files, false)?;
        let handed_over = self.owner.hand_over(Path::new(INTERFACES));
        handed_over.map_err(place(&interfaces))
    }

    /// The result of the build. A hostile build may have put something else there than a file, or a file without an end.
    pub(crate) fn take_product(&self, program: &str) -> Result<Vec<u8>, BuildError> {
        let path = self.folder.join(PRODUCT);
        match self.read(&path, PRODUCT_MAX) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BuildError::NoProduct {
                program: program.to_owned(),
            }),
            Err(error) => Err(BuildError::Product {
                program: program.to_owned(),
                path,
                error,
            }),
        }
    }

    /// Reads a file of the folder `build`, of at most `longest` bytes. It does not wait, as for the writer of a pipe.
    pub(crate) fn read(&self, path: &Path, longest: u64) -> io::Result<Vec<u8>> {
        let file = open(path, File::options().read(true))?;
        let mut bytes = Vec::new();
        if file.take(longest + 1).read_to_end(&mut bytes)? as u64 > longest {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// Puts the component in its place.
    pub(crate) fn keep(&self, component: &[u8]) -> Result<(), BuildError> {
        self.write(&self.component(), component)
    }

    /// Writes a file of the folder `build` in one step.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
        let beside = path.with_extension("new");
        remove(&beside)?;
        File::create_new(&beside)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                self.owner.give(&file)
            })
            .map_err(place(&beside))?;
        fs::rename(&beside, path).map_err(place(path))
    }

    fn make_folder(&self, path: &str) -> Result<(), BuildError> {
        self.owner
            .make_folder(Path::new(path))
            .map_err(place(&self.folder.join(path)))
    }
}

/// Opens a regular file, and neither follows a link to it nor waits for the other end of a pipe.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Removes a file, a link or a folder, if one exists at the path.
fn remove(path: &Path) -> Result<(), BuildError> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(place(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn place(path: &Path) -> impl Fn(io::Error) -> BuildError {
    let path = path.to_owned();
    move |error| BuildError::Place {
        path: path.clone(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, chown};

    use super::*;

    /// Otherwise they could not build it themselves after root did.
    #[tokio::test]
    async fn what_root_makes_belongs_to_the_owner_of_the_folder() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root makes files for others");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        chown(folder.path(), Some(12345), Some(12345)).unwrap();
        let site = Site::prepare(folder.path(), "x").unwrap();
        drop(site.lock().await.unwrap());
        for made in [BUILD, WORK, "build/.lock"] {
            assert_eq!(folder.path().join(made).metadata().unwrap().uid(), 12345, "{made}");
        }
    }
}
