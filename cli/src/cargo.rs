//! The arguments for cargo, its answer, and the errors of a build; shared by confined and unconfined builds.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use capsule_host::sandbox::{LaunchError, WorkspaceError};
use capsule_host::supervisor::{self, RegistryError};
use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::build_inputs::Refused;
use crate::console::Spinner;

pub(crate) const TARGET: &str = "wasm32-wasip2";

/// A capsule that was built.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) wasm: PathBuf,
    /// The package's name.
    pub(crate) package: String,
}

/// Why a folder could not be built to a component.
#[derive(Debug, Error)]
pub(crate) enum BuildError {
    #[error(
        "cannot start `{program}`, which is needed to build a crate folder: {error}; install Rust from https://rustup.rs, \
         or give a .wasm that is already built"
    )]
    NoProgram { program: &'static str, error: io::Error },
    #[error("cannot read the output of `{program}`: {error}")]
    Read { program: &'static str, error: io::Error },
    #[error("`rustc` does not work in {} ({status}): see its message above", folder.display())]
    Compiler { folder: PathBuf, status: ExitStatus },
    #[error(
        "the Rust toolchain used in {} lacks the target {TARGET}, and there is no `rustup` to add it: install that \
         target's standard library, or Rust from https://rustup.rs",
        folder.display()
    )]
    NoTarget { folder: PathBuf },
    #[error("`rustup target add {TARGET}` failed ({status}): see its message above")]
    AddTarget { status: ExitStatus },
    #[error("cargo could not build {} ({status}): see its messages above", folder.display())]
    Cargo { folder: PathBuf, status: ExitStatus },
    #[error(
        "confined build: {0}; `capsule doctor` reports what this machine lacks, --trust-build builds with all your rights"
    )]
    Confinement(LaunchError),
    #[error("confined build: {0}; --trust-build builds with all your rights")]
    Workspace(WorkspaceError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Registry(RegistryError),
    #[error("cannot use {} for the files of a confined build: {error}; --trust-build builds with all your rights", path.display())]
    Place { path: PathBuf, error: io::Error },
    #[error(
        "cannot start `{program}`, which is needed to build a crate folder: {error}; install Rust from https://rustup.rs, \
         give a .wasm that is already built, or use --trust-build to build with all your rights"
    )]
    NoStart {
        program: &'static str,
        error: supervisor::Error,
    },
    #[error(
        "cargo could not build {}: see its messages above. If it misses a file: the build was confined, and saw none of your files except {}, \
         the toolchains and the registry's cache; if it needs more and you trust the crate and all its dependencies, \
         --trust-build builds it with all your rights",
        folder.display(), root.display()
    )]
    Confined { folder: PathBuf, root: PathBuf },
    #[error(
        "cargo could not read or fetch what {} is built from: see its messages above. Crates that this machine lacks come from their \
         registry, which needs a network",
        folder.display()
    )]
    Fetch { folder: PathBuf },
    #[error(
        "{} builds no component: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`; if it is a workspace, \
         give the folder of one of its packages",
        folder.display()
    )]
    NoComponent { folder: PathBuf },
    #[error("{} builds several components: give the one to run, from {}", folder.display(), list(found))]
    Several { folder: PathBuf, found: Vec<PathBuf> },
}

/// The arguments for cargo.
pub(crate) fn build_arguments() -> Vec<&'static str> {
    let format = "--message-format=json-render-diagnostics";
    vec!["build", "--release", "--target", TARGET, format]
}

/// Cargo's report on each artifact that it built, or found built, with only the fields that are used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Artifact {
    manifest_path: PathBuf,
    package_id: String,
    target: ArtifactTarget,
    filenames: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct ArtifactTarget {
    name: String,
    kind: Vec<String>,
}

pub(crate) async fn artifacts(stdout: impl AsyncRead + Unpin, spinner: &Spinner) -> io::Result<Vec<Artifact>> {
    let mut artifacts = Vec::new();
    let mut lines = BufReader::new(stdout).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        // Other messages lack these fields, and a macro may print any text.
        if let Ok(artifact) = serde_json::from_slice::<Artifact>(&line) {
            spinner.say(format!("building: {} done", artifact.target.name));
            artifacts.push(artifact);
        }
    }
    Ok(artifacts)
}

/// The one component among the artifacts of the package in `folder`.
pub(crate) fn choose(folder: &Path, artifacts: &[Artifact]) -> Result<Built, BuildError> {
    let manifest = folder.join("Cargo.toml");
    let is_wasm = |path: &&PathBuf| path.extension() == Some(OsStr::new("wasm"));
    let found: Vec<(&Artifact, &PathBuf)> = artifacts
        .iter()
        .filter(|artifact| artifact.manifest_path.canonicalize().is_ok_and(|path| path == manifest))
        .filter(|artifact| {
            artifact
                .target
                .kind
                .iter()
                .any(|kind| matches!(kind.as_str(), "cdylib" | "bin"))
        })
        .flat_map(|artifact| {
            artifact
                .filenames
                .iter()
                .filter(is_wasm)
                .map(move |wasm| (artifact, wasm))
        })
        .collect();
    match found.as_slice() {
        [] => Err(BuildError::NoComponent {
            folder: folder.to_owned(),
        }),
        [(artifact, wasm)] => {
            let package = package_name(&artifact.package_id)
                .unwrap_or(&artifact.target.name)
                .to_owned();
            Ok(Built {
                wasm: (*wasm).clone(),
                package,
            })
        }
        several => Err(BuildError::Several {
            folder: folder.to_owned(),
            found: several.iter().map(|(_, wasm)| (*wasm).clone()).collect(),
        }),
    }
}

/// The name in a package id: `…#name@version`, or `…/name#version` where the folder has the package's name.
fn package_name(id: &str) -> Option<&str> {
    let (url, fragment) = id.rsplit_once('#')?;
    match fragment.split_once('@') {
        Some((name, _)) => Some(name),
        None => url.rsplit('/').next(),
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_id_names_its_package() {
        assert_eq!(
            package_name("path+file:///home/me/dev-server#0.1.0"),
            Some("dev-server")
        );
        assert_eq!(
            package_name("path+file:///home/me/server#dev-server@0.1.0"),
            Some("dev-server")
        );
        assert_eq!(package_name("no id"), None);
    }

    fn artifact(folder: &Path, kind: &str, wasm: &str) -> Artifact {
        serde_json::from_value(serde_json::json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///x#shop@0.1.0",
            "manifest_path": folder.join("Cargo.toml"),
            "target": { "name": "shop_lib", "kind": [kind], "crate_types": [kind] },
            "filenames": [folder.join(wasm), folder.join("shop.d")],
            "fresh": true,
        }))
        .unwrap()
    }

    #[test]
    fn the_component_is_the_packages_own_and_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let elsewhere = folder.join("dependency");
        std::fs::create_dir(&elsewhere).unwrap();
        for folder in [&folder, &elsewhere] {
            std::fs::write(folder.join("Cargo.toml"), "").unwrap();
        }
        let mut built = vec![
            artifact(&elsewhere, "cdylib", "other.wasm"),
            artifact(&folder, "rlib", "shop.rlib"),
        ];
        assert!(matches!(choose(&folder, &built), Err(BuildError::NoComponent { .. })));

        built.push(artifact(&folder, "cdylib", "shop.wasm"));
        let one = choose(&folder, &built).unwrap();
        assert_eq!((one.wasm, one.package.as_str()), (folder.join("shop.wasm"), "shop"));

        built.push(artifact(&folder, "bin", "tool.wasm"));
        let error = choose(&folder, &built).unwrap_err().to_string();
        assert!(error.contains("shop.wasm") && error.contains("tool.wasm"), "{error}");
    }
}
