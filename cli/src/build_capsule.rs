//! From a capsule's crate folder to its component, by cargo: confined (see `build_confined`), or, with `--trust-build`, as
//! a person would call it.
//!
//! Then cargo runs in the folder, so the toolchain and the cargo configuration that apply there are used. What an outer cargo
//! or rustup left in the environment is not handed on: it describes the program that runs here, not the capsule.
//!
//! Every program started here leads a process group of its own, which ends as a whole when the future is dropped (that
//! is, when the command is interrupted): cargo alone would leave its compilers running.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use capsule_host::sandbox::{LaunchError, WorkspaceError};
use capsule_host::supervisor::{self, RegistryError};
use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::build_confined;
use crate::console::{self, Spinner};

pub(crate) const TARGET: &str = "wasm32-wasip2";

/// A capsule that was built.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) wasm: PathBuf,
    /// The package's name.
    pub(crate) package: String,
}

/// Why a folder did not become a component.
#[derive(Debug, Error)]
pub(crate) enum BuildError {
    #[error(
        "cannot start `{program}`, which building a crate folder needs: {error}; install Rust from https://rustup.rs, \
         or give a .wasm that is already built"
    )]
    NoProgram { program: &'static str, error: io::Error },
    #[error("cannot read what `{program}` says: {error}")]
    Read { program: &'static str, error: io::Error },
    #[error("`rustc` does not work in {} ({status}): see its message above", folder.display())]
    Compiler { folder: PathBuf, status: ExitStatus },
    #[error(
        "the Rust that is used in {} lacks the target {TARGET}, and there is no `rustup` to add it: install that \
         target's standard library, or Rust from https://rustup.rs",
        folder.display()
    )]
    NoTarget { folder: PathBuf },
    #[error("`rustup target add {TARGET}` failed ({status}): see its message above")]
    AddTarget { status: ExitStatus },
    #[error("cargo could not build {} ({status}): see its messages above", folder.display())]
    Cargo { folder: PathBuf, status: ExitStatus },
    #[error(
        "building confined: {0}; `capsule doctor` says what this machine lacks, --trust-build builds with all your rights"
    )]
    Confinement(LaunchError),
    #[error("building confined: {0}; --trust-build builds with all your rights")]
    Workspace(WorkspaceError),
    #[error(transparent)]
    Registry(RegistryError),
    #[error("cannot use {} for what a confined build makes: {error}; --trust-build builds with all your rights", path.display())]
    Place { path: PathBuf, error: io::Error },
    #[error(
        "cannot start `{program}`, which building a crate folder needs: {error}; install Rust from https://rustup.rs, \
         give a .wasm that is already built, or build with all your rights by --trust-build"
    )]
    NoStart {
        program: &'static str,
        error: supervisor::Error,
    },
    #[error(
        "cargo could not build {}: see its messages above. It was confined, and saw nothing of yours but {}, the \
         toolchains and the registry's cache; if it needs more and you trust the crate and all that it depends on, \
         --trust-build builds it with all your rights",
        folder.display(), root.display()
    )]
    Confined { folder: PathBuf, root: PathBuf },
    #[error(
        "{} builds no component: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`, and if it is a workspace, \
         give the folder of one of its packages",
        folder.display()
    )]
    NoComponent { folder: PathBuf },
    #[error("{} builds several components: give the one to run, of {}", folder.display(), list(found))]
    Several { folder: PathBuf, found: Vec<PathBuf> },
}

/// Builds the crate in `folder` (an absolute path without symlinks) for release, adding the target if it is missing.
///
/// Cargo's warnings and errors go to standard error. Dropping the future ends the build.
pub(crate) async fn build(folder: &Path, trusted: bool) -> Result<Built, BuildError> {
    if trusted {
        unconfined(folder).await
    } else {
        build_confined::build(folder).await
    }
}

/// What cargo is asked for.
pub(crate) fn build_arguments() -> Vec<&'static str> {
    let format = "--message-format=json-render-diagnostics";
    vec!["build", "--release", "--target", TARGET, format]
}

async fn unconfined(folder: &Path) -> Result<Built, BuildError> {
    ensure_target(folder).await?;
    let spinner = Spinner::start(format!("building {}", folder.display()));
    let mut cargo = tool("cargo", folder);
    cargo.args(build_arguments());
    cargo.stdout(Stdio::piped());
    if console::is_terminal() {
        // Cargo would draw a progress bar where the spinner is. So it only says what matters, and says it afterwards.
        cargo.arg("--quiet").stderr(Stdio::piped());
        // What it prints is the crate's, and shown with its control characters escaped.
        cargo.env("CARGO_TERM_COLOR", "never");
    }
    let mut cargo = Group::start("cargo", cargo)?;
    let failed = |error| BuildError::Read {
        program: "cargo",
        error,
    };

    let (stdout, stderr) = (cargo.child.stdout.take(), cargo.child.stderr.take());
    let artifacts = async {
        match stdout {
            Some(stdout) => artifacts(stdout, &spinner).await,
            None => Ok(Vec::new()),
        }
    };
    let (artifacts, messages) = tokio::join!(artifacts, read_all(stderr));
    let (artifacts, messages) = (artifacts.map_err(failed)?, messages.map_err(failed)?);
    let status = cargo.child.wait().await.map_err(failed)?;
    drop(spinner);
    console::relay(&messages).await;
    if !status.success() {
        return Err(BuildError::Cargo {
            folder: folder.to_owned(),
            status,
        });
    }
    choose(folder, &artifacts)
}

/// Adds the wasm target to the toolchain that applies in `folder`, unless it is there.
async fn ensure_target(folder: &Path) -> Result<(), BuildError> {
    let mut rustc = tool("rustc", folder);
    rustc
        .args(["--print", "target-libdir", "--target", TARGET])
        .stdout(Stdio::piped());
    let mut rustc = Group::start("rustc", rustc)?;
    let failed = |error| BuildError::Read {
        program: "rustc",
        error,
    };
    let answer = read_all(rustc.child.stdout.take()).await.map_err(failed)?;
    let status = rustc.child.wait().await.map_err(failed)?;
    if !status.success() {
        return Err(BuildError::Compiler {
            folder: folder.to_owned(),
            status,
        });
    }
    if Path::new(String::from_utf8_lossy(&answer).trim_end()).is_dir() {
        return Ok(());
    }
    rustup_adds(folder, &[], folder).await
}

/// Has rustup, started in `from`, add the target for the crate in `folder`.
pub(crate) async fn rustup_adds(from: &Path, which: &[&str], folder: &Path) -> Result<(), BuildError> {
    let mut rustup = tool("rustup", from);
    rustup.args(["target", "add", TARGET]).args(which).stdout(Stdio::null());
    let mut rustup = match Group::start("rustup", rustup) {
        Ok(rustup) => rustup,
        Err(BuildError::NoProgram { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BuildError::NoTarget {
                folder: folder.to_owned(),
            });
        }
        Err(error) => return Err(error),
    };
    let status = rustup.child.wait().await.map_err(|error| BuildError::Read {
        program: "rustup",
        error,
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(BuildError::AddTarget { status })
    }
}

/// `program`, to be run in `folder` with an environment that says nothing of the program that runs here.
fn tool(program: &str, folder: &Path) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "the compiler is the user's own tool and no capsule's process: it has no place in the supervisor"
    )]
    let command = std::process::Command::new(program);
    let mut command = Command::from(command);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);

    let below_rustup = std::env::var_os("RUST_RECURSION_COUNT").is_some();
    for (name, value) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if is_left_over(text, below_rustup) {
            command.env_remove(&name);
        } else if matches!(text, "CARGO_TARGET_DIR" | "CARGO_BUILD_TARGET_DIR") {
            // Given for the folder that the user stands in.
            if let Ok(path) = std::path::absolute(value) {
                command.env(&name, path);
            }
        }
    }
    command
}

/// Whether a variable speaks of the program that runs here, so that it must not reach the capsule's build.
pub(crate) fn is_left_over(name: &str, below_rustup: bool) -> bool {
    // Set by `cargo run` and `cargo test` for the program that they start.
    let by_cargo = matches!(
        name,
        "CARGO" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "CARGO_TARGET_TMPDIR" | "OUT_DIR"
    ) || [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix));
    // Flags for this machine's programs: a linker, a processor, coverage. They break a build for another target.
    let for_this_machine = matches!(name, "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "CARGO_BUILD_RUSTFLAGS");
    // Rustup's way of telling the programs below it which toolchain it chose, for the folder that they started in. Where
    // rustup is not above us the user set it, and means it.
    let by_rustup = below_rustup && matches!(name, "RUSTUP_TOOLCHAIN" | "RUSTUP_TOOLCHAIN_SOURCE");
    by_cargo || for_this_machine || by_rustup
}

/// A running program that leads its own process group; the whole group is killed on drop, unless it was waited for.
struct Group {
    child: Child,
}

impl Group {
    fn start(program: &'static str, mut command: Command) -> Result<Self, BuildError> {
        let child = command
            .spawn()
            .map_err(|error| BuildError::NoProgram { program, error })?;
        Ok(Self { child })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is `None` once the leader was reaped, so the number cannot have become another process's.
        let leader = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(leader) = leader {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

async fn read_all(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// What cargo reports of each thing that it built, or found built; of the fields only those that are used here.
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
        // Other messages lack these fields, and a macro may print what it likes.
        if let Ok(artifact) = serde_json::from_slice::<Artifact>(&line) {
            spinner.say(format!("building: {} done", artifact.target.name));
            artifacts.push(artifact);
        }
    }
    Ok(artifacts)
}

/// The one component among what was built of the package in `folder`.
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
    fn what_speaks_of_this_program_is_left_behind() {
        for name in [
            "CARGO",
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "CARGO_BIN_EXE_capsule",
            "RUSTFLAGS",
            "OUT_DIR",
        ] {
            assert!(is_left_over(name, false), "{name}");
        }
        for name in [
            "PATH",
            "CARGO_HOME",
            "RUSTUP_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
        ] {
            assert!(!is_left_over(name, true), "{name}");
        }
    }

    #[test]
    fn a_toolchain_is_the_users_word_unless_rustup_put_it_there() {
        assert!(is_left_over("RUSTUP_TOOLCHAIN", true));
        assert!(!is_left_over("RUSTUP_TOOLCHAIN", false));
    }

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
