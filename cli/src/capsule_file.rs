//! The argument CAPSULE: a component, the folder of a capsule that is built first, or a folder whose `Capsule.toml` names a component.
//!
//! It is checked before anything is built or loaded, so that a wrong path is bad usage with a remedy, and not an error
//! message from a compiler.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::languages::declared::{BadDeclaration, Declared};
use crate::manifest::{BadManifest, CAPSULE_TOML, Manifest, NoComponent};

/// Where a component comes from: the kinds of files that the CAPSULE argument can name, and this program itself.
#[derive(Debug)]
pub(crate) enum Source {
    /// A component, and the name that its file suggests. A folder's manifest may have named the file.
    Component { name: String, file: ComponentFile },
    /// A folder with a `Cargo.toml`.
    Crate { folder: PathBuf },
    /// A folder whose `Capsule.toml` says how it is built.
    Declared { folder: PathBuf, declared: Declared },
    /// A component that is part of this program, with its name. No argument names it.
    Bundled {
        name: &'static str,
        component: &'static [u8],
    },
}

/// Why CAPSULE cannot be run.
#[derive(Debug, Error)]
pub(crate) enum BadCapsule {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "{} has no Cargo.toml and no Capsule.toml: give the folder of a capsule, as `capsule new` makes it, a folder whose \
         Capsule.toml names a component, or a .wasm file",
        path.display()
    )]
    NotACapsule { path: PathBuf },
    #[error(transparent)]
    NoComponent(#[from] NoComponent),
    #[error(transparent)]
    Manifest(#[from] BadManifest),
    #[error(transparent)]
    Declaration(#[from] BadDeclaration),
    #[error(
        "{} is a core WebAssembly module, and a capsule is a component: build it with \
         `cargo build --target wasm32-wasip2`, or turn it into one with `wasm-tools component new`",
        path.display()
    )]
    CoreModule { path: PathBuf },
    #[error(
        "{} is not a WebAssembly component: give a .wasm that was built for wasm32-wasip2, or the folder of its crate",
        path.display()
    )]
    NotWasm { path: PathBuf },
    #[error("{} has no name to call the capsule by: give one with --capsule-id", path.display())]
    NoName { path: PathBuf },
}

/// A file with the header of a component. The rest is read later, while other work is done.
#[derive(Debug)]
pub(crate) struct ComponentFile {
    path: PathBuf,
    file: File,
    start: Vec<u8>,
}

/// Examines the file or folder at `path`.
pub(crate) fn examine(path: &Path) -> Result<Source, BadCapsule> {
    let unreadable = |error| BadCapsule::Unreadable {
        path: path.to_owned(),
        error,
    };
    if !path.metadata().map_err(unreadable)?.is_dir() {
        return component(path);
    }
    let folder = path.canonicalize().map_err(unreadable)?;
    if folder.join("Cargo.toml").is_file() {
        return Ok(Source::Crate { folder });
    }
    if !folder.join(CAPSULE_TOML).is_file() {
        return Err(BadCapsule::NotACapsule { path: path.to_owned() });
    }
    let manifest = Manifest::of_folder(&folder)?;
    match &manifest.build {
        Some(build) => {
            let declared = Declared::new(&folder, manifest.id.as_deref(), build)?;
            Ok(Source::Declared { folder, declared })
        }
        None => component(&Manifest::only_component(&folder)?),
    }
}

fn component(path: &Path) -> Result<Source, BadCapsule> {
    let file = ComponentFile::open(path)?;
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let name = name
        .ok_or_else(|| BadCapsule::NoName { path: path.to_owned() })?
        .to_owned();
    Ok(Source::Component { name, file })
}

/// The length of the header that tells a component from a module.
const HEADER: u64 = 8;

impl ComponentFile {
    /// Opens a file that must be a component.
    pub(crate) fn open(path: &Path) -> Result<Self, BadCapsule> {
        let mut start = Vec::new();
        let opened = File::open(path).and_then(|file| {
            (&file).take(HEADER).read_to_end(&mut start)?;
            Ok(file)
        });
        let path = path.to_owned();
        match (opened, kind(&start)) {
            (Err(error), _) => Err(BadCapsule::Unreadable { path, error }),
            (Ok(file), Kind::Component) => Ok(Self { path, file, start }),
            (Ok(_), Kind::CoreModule) => Err(BadCapsule::CoreModule { path }),
            (Ok(_), Kind::Other) => Err(BadCapsule::NotWasm { path }),
        }
    }

    /// The path by which it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file.
    pub(crate) fn read(self) -> Result<Vec<u8>, BadCapsule> {
        let Self {
            path,
            mut file,
            start: mut bytes,
        } = self;
        match file.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(BadCapsule::Unreadable { path, error }),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Component,
    CoreModule,
    Other,
}

/// Tells by the first eight bytes: the magic, a version, and the layer (0 a module, 1 a component).
fn kind(bytes: &[u8]) -> Kind {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Kind::Component,
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Kind::CoreModule,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_apart_by_the_header() {
        assert_eq!(kind(b"\0asm\x0d\0\x01\0"), Kind::Component);
        assert_eq!(kind(b"\0asm\x01\0\0\0rest"), Kind::CoreModule);
        for other in [&b""[..], b"\0asm", b"(module)", b"\x7fELF\x02\x01\x01\0"] {
            assert_eq!(kind(other), Kind::Other);
        }
    }

    #[test]
    fn a_folder_needs_a_manifest() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(examine(folder.path()), Err(BadCapsule::NotACapsule { .. })));
        std::fs::write(folder.path().join("Cargo.toml"), "").unwrap();
        assert!(matches!(examine(folder.path()), Ok(Source::Crate { .. })));
    }

    #[test]
    fn a_file_suggests_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web-server.v2.wasm");
        std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
        let Ok(Source::Component { name, .. }) = examine(&path) else {
            panic!("not a component")
        };
        assert_eq!(name, "web-server.v2");
    }
}
