//! Why a capsule with a table `[build]` could not be built. Each message says what to do next.

use std::io;
use std::path::PathBuf;

use capsule_host::sandbox::{LaunchError, VisibleError, WorkspaceError};
use capsule_host::supervisor::{self, RegistryError};
use thiserror::Error;

use crate::build_inputs::Refused;
use crate::files::NotWritten;

#[derive(Debug, Error)]
pub(crate) enum BuildError {
    #[error(
        "the program `{program}`, which builds this capsule, is missing: {install}. It was looked for in {0}/.venv/bin, \
         {0}/node_modules/.bin and the folders of PATH",
        folder.display()
    )]
    Missing {
        program: String,
        folder: PathBuf,
        install: &'static str,
    },
    #[error(
        "a confined build cannot see {}: {error}; install the program in the capsule's folder, or use --trust-build to build with \
         all your rights",
        tool.display()
    )]
    NotShown { tool: PathBuf, error: VisibleError },
    #[error("cannot use {} for the files of the build: {error}", path.display())]
    Place { path: PathBuf, error: io::Error },
    #[error(
        "cannot list the sources of the capsule in {}, which its processes must not change: {error}; move what is no source out of \
         this folder",
        folder.display()
    )]
    Unlisted { folder: PathBuf, error: io::Error },
    #[error("cannot use {} for the files of the build: its path is not UTF-8", .0.display())]
    NotText(PathBuf),
    #[error(transparent)]
    Interfaces(#[from] NotWritten),
    #[error(
        "confined build: {0}; `capsule doctor` reports what this machine lacks, --trust-build builds with all your rights"
    )]
    Confinement(LaunchError),
    #[error("confined build: {0}; --trust-build builds with all your rights")]
    Workspace(WorkspaceError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("cannot start `{program}` for a confined build: {error}; --trust-build builds with all your rights")]
    NoStart { program: String, error: supervisor::Error },
    #[error("cannot start `{program}`: {error}")]
    NoProgram { program: String, error: io::Error },
    #[error(
        "`{program}` could not build {}: see its messages above{}",
        folder.display(),
        if *confined {
            ". If it misses a file or the network: the build was confined; it had no network, saw none of your files except this \
             folder and the program, and could write only to `build/work`; if it needs more and you trust the capsule's authors, \
             --trust-build builds with all your rights"
        } else {
            ""
        }
    )]
    Failed {
        folder: PathBuf,
        program: String,
        confined: bool,
    },
    #[error(
        "`{program}` succeeded, but wrote no component: the `command` in Capsule.toml writes it to the path in the variable \
         CAPSULE_OUTPUT"
    )]
    NoProduct { program: String },
    #[error(
        "`{program}` succeeded, but {} cannot be read as its component: {error}; the `command` in Capsule.toml writes a regular file, \
         which you can read, to that path, the one in the variable CAPSULE_OUTPUT",
        path.display()
    )]
    Product {
        program: String,
        path: PathBuf,
        error: io::Error,
    },
    #[error("the result of the build is neither a WebAssembly component nor a module that can become one: {0}")]
    NotComponent(String),
}
