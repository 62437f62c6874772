//! Builds a component from a capsule's crate folder with cargo: confined (see `build_confined`), or, with `--trust-build`, as a
//! user would call cargo.

use std::path::Path;
use std::process::Stdio;

use crate::build_confined;
use crate::build_flags::BuildFlags;
use crate::build_inputs::check;
use crate::cargo::{BuildError, Built, TARGET, artifacts, build_arguments, choose};
use crate::console::{self, Spinner};
use crate::tool::{Group, read_all, rustup_adds, tool};

/// Builds the crate in `folder` (an absolute path without symlinks) for release, adding the target if it is missing.
///
/// Cargo's warnings and errors go to standard error. Dropping the future ends the build.
pub(crate) async fn build(folder: &Path, flags: BuildFlags) -> Result<Built, BuildError> {
    check(folder, flags.accept_changes)?;
    if flags.trust_build {
        unconfined(folder).await
    } else {
        build_confined::build(folder).await
    }
}

async fn unconfined(folder: &Path) -> Result<Built, BuildError> {
    ensure_target(folder).await?;
    let spinner = Spinner::start(format!("building {}", folder.display()));
    let mut cargo = tool("cargo", folder);
    cargo.args(build_arguments());
    cargo.stdout(Stdio::piped());
    if console::is_terminal() {
        // Cargo would draw a progress bar over the spinner. So it prints only warnings and errors, and they are shown afterwards.
        cargo.arg("--quiet").stderr(Stdio::piped());
        // The crate controls the output, so it is shown with its control characters escaped.
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
