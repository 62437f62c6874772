//! `capsule build`: makes the component of a capsule's folder, without running it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use capsule_host::printable::Printable;
use clap::Args;

use crate::build_flags::BuildFlags;
use crate::capsule_file::{Source, examine};
use crate::exit_code::{BAD_USAGE, FAILED, SUCCEEDED};
use crate::interrupt::Interrupts;
use crate::manifest::{BadManifest, Manifest};
use crate::{build_capsule, console, languages, report};

/// Build the component of a capsule's folder, and print its path.
///
/// A folder with a `Cargo.toml` is built by cargo. Otherwise the table `[build]` of its `Capsule.toml` says how it is built:
/// `language` ("python", "js" or "c") and `source`, or a `command` with its arguments, which writes the component to the path in the
/// variable CAPSULE_OUTPUT. Programs are looked for in the folder's `.venv/bin` and `node_modules/.bin`, and then in PATH. The
/// component goes to `build`, and is built again only if a source changed. `wit` and `world` name interfaces of the capsule's own;
/// otherwise it uses those that `capsule wit` writes.
///
/// A build runs code of the capsule's authors, so it is confined (unless you give --trust-build). It has a network only to fetch
/// missing crates.
///
/// Exit code: 0 if the component is built, 1 if it could not be built, 2 for bad usage, 128+n if ended by signal n.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Also write the component to this file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    flags: BuildFlags,

    /// The folder of a capsule.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs the command and returns its exit code.
pub(crate) async fn build(args: BuildArgs) -> u8 {
    let source = match examine(&args.folder) {
        Ok(source) => source,
        Err(error) => return told(&error, BAD_USAGE),
    };
    match manifest(&source) {
        Ok(Some(manifest)) => manifest.tell_of_reports(),
        Ok(None) => {}
        Err(error) => return told(&error, BAD_USAGE),
    }
    let mut interrupts = match Interrupts::new() {
        Ok(interrupts) => interrupts,
        Err(error) => return told(&format!("cannot receive signals: {error}"), FAILED),
    };
    let built = tokio::select! {
        built = make(source, args.flags) => built,
        interrupt = interrupts.next() => return told(&format!("ended by {}", interrupt.name()), interrupt.exit_code()),
    };
    let component = match built {
        Ok(Some(component)) => component,
        Ok(None) => {
            return told(
                &format!(
                    "{} needs no build: it is a component, or its Capsule.toml names one and has no table [build]",
                    args.folder.display()
                ),
                BAD_USAGE,
            );
        }
        Err(error) => return told(&error, FAILED),
    };
    let component = match args.output {
        Some(output) => match copy(&component, &output) {
            Ok(()) => output,
            Err(error) => return told(&format!("cannot write {}: {error}", output.display()), FAILED),
        },
        None => component,
    };
    match report::write(format!("{}\n", Printable(&component.display().to_string())).as_bytes()) {
        Ok(()) => SUCCEEDED,
        Err(_) => FAILED,
    }
}

/// The manifest of a folder, whose reports may explain what is built.
fn manifest(source: &Source) -> Result<Option<Manifest>, BadManifest> {
    match source {
        Source::Component { .. } | Source::Bundled { .. } => Ok(None),
        Source::Crate { folder } => Manifest::of_crate(folder).map(Some),
        Source::Declared { folder, .. } => Manifest::of_folder(folder).map(Some),
    }
}

/// None if there is nothing to build.
async fn make(source: Source, flags: BuildFlags) -> Result<Option<PathBuf>, String> {
    match source {
        Source::Component { .. } | Source::Bundled { .. } => Ok(None),
        Source::Crate { folder } => {
            let built = build_capsule::build(&folder, flags).await;
            built.map(|built| Some(built.wasm)).map_err(|error| error.to_string())
        }
        Source::Declared { folder, declared } => {
            let built = languages::build(&folder, &declared, flags).await;
            built.map(Some).map_err(|error| error.to_string())
        }
    }
}

/// In one step, so that an interrupted command leaves the old file or the new one.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = to.with_file_name(name);
    // Not `fs::copy`, which follows a link that lies there.
    let mut file = File::create_new(&beside)?;
    let copied = File::open(from)
        .and_then(|mut from| io::copy(&mut from, &mut file))
        .and_then(|_| fs::rename(&beside, to));
    if copied.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_file(&beside));
    }
    copied
}

fn told(error: &impl ToString, code: u8) -> u8 {
    console::error(&error.to_string());
    code
}
