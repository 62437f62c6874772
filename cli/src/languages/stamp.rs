//! Whether a component was built from its sources as they are: a hash over their paths, sizes and times, kept beside the component.
//!
//! The file lies where a confined build cannot write, so a build cannot claim to be the build of other sources.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::declared::Declared;
use super::error::BuildError;
use super::inputs;
use super::recipe::Recipe;
use super::site::Site;
use crate::embedded::{C, WIT};

/// The longest file that is read as a stamp, in bytes: more than three hashes as text.
const STAMP_MAX: u64 = 1024;

/// What a component is built from.
pub(crate) struct Stamp {
    /// None if the sources cannot be listed: then each run builds.
    sources: Option<String>,
    /// None if the program that builds was not found.
    tool: Option<String>,
}

impl Stamp {
    pub(crate) fn of(site: &Site, declared: &Declared, recipe: Option<&Recipe>) -> Self {
        Self {
            sources: sources(site.folder(), declared),
            tool: recipe.map(|recipe| hash(|hasher| add_file(hasher, recipe.executable()))),
        }
    }

    /// Whether the component in `site` was built from the same. A program that is not found counts as the one that built it.
    pub(crate) fn is_fresh(&self, site: &Site) -> bool {
        let Ok(component) = fs::symlink_metadata(site.component()) else {
            return false;
        };
        let kept = site.read(&site.stamp(), STAMP_MAX).unwrap_or_default();
        let kept = String::from_utf8(kept).unwrap_or_default();
        let mut lines = kept.lines();
        let mut same = |line: Option<&str>| line.is_some_and(|line| lines.next() == Some(line));
        let sources_same = same(self.sources.as_deref());
        let tool = lines.next();
        let tool_same = self.tool.is_none() || self.tool.as_deref() == tool;
        sources_same && tool_same && component.is_file() && lines.next() == Some(&of_component(&component))
    }

    /// Keeps it, for a component that was just put there.
    pub(crate) fn write(&self, site: &Site) -> Result<(), BuildError> {
        let (Some(sources), Some(tool)) = (&self.sources, &self.tool) else {
            return Ok(());
        };
        let path = site.component();
        let component = fs::symlink_metadata(&path).map_err(|error| BuildError::Place { path, error })?;
        site.write(
            &site.stamp(),
            format!("{sources}\n{tool}\n{}\n", of_component(&component)).as_bytes(),
        )
    }
}

fn of_component(metadata: &Metadata) -> String {
    hash(|hasher| add(hasher, metadata))
}

fn sources(folder: &Path, declared: &Declared) -> Option<String> {
    let files = inputs::of(folder, declared).ok()?;
    Some(hash(|hasher| {
        // Another version of this command may build in another way, or have other interfaces.
        hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
        for file in WIT.iter().chain(C) {
            hasher.update(file.content);
        }
        hasher.update(format!("{declared:?}").as_bytes());
        for path in &files {
            add_file(hasher, &folder.join(path));
        }
        // Packages that were added or removed.
        for installed in ["node_modules/.package-lock.json", ".venv/pyvenv.cfg"] {
            add_file(hasher, &folder.join(installed));
        }
        for packages in site_packages(folder) {
            add_file(hasher, &packages);
        }
    }))
}

/// `.venv/lib/python3.*/site-packages`.
fn site_packages(folder: &Path) -> Vec<std::path::PathBuf> {
    let versions = fs::read_dir(folder.join(".venv/lib")).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("site-packages")).collect()
}

fn hash(feed: impl FnOnce(&mut blake3::Hasher)) -> String {
    let mut hasher = blake3::Hasher::new();
    feed(&mut hasher);
    hasher.finalize().to_hex().to_string()
}

/// A path, the link at it, and the file that it leads to. A file that does not exist counts as such.
fn add_file(hasher: &mut blake3::Hasher, path: &Path) {
    hasher.update(path.as_os_str().as_bytes());
    hasher.update(&[0]);
    for metadata in [path.symlink_metadata(), path.metadata()] {
        match metadata {
            Ok(metadata) => add(hasher, &metadata),
            Err(_) => {
                hasher.update(&[0]);
            }
        }
    }
}

fn add(hasher: &mut blake3::Hasher, metadata: &Metadata) {
    hasher.update(&metadata.len().to_le_bytes());
    hasher.update(&metadata.mtime().to_le_bytes());
    hasher.update(&metadata.mtime_nsec().to_le_bytes());
    hasher.update(&metadata.ino().to_le_bytes());
}
