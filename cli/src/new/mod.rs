//! `capsule new`: a folder with a capsule that builds, runs and has a test.

mod name;
mod template;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use tokio::task::spawn_blocking;

use crate::console;
use crate::exit_code::{BAD_USAGE, FAILED, SUCCEEDED};
use crate::files::{NotWritten, create_folder};
use crate::interrupt::Interrupts;
use name::Name;
use template::{Language, Purpose, files};

/// Make a new capsule: a folder that builds and runs at once, with a manifest, a test, and a README that names the commands.
///
/// A capsule in Rust needs only rustup; it gets a copy of the SDK, in `vendor/capsule-sdk`, because the SDK is not published yet. The
/// other languages need a tool each, and JavaScript Node.js, which the first run names if they are missing.
///
/// Exit code: 0 if the folder was made, 1 if it could not be written, 2 for bad usage, 128+n if ended by signal n. No incomplete
/// folder is left.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The name of the capsule, and of its folder, which is made in the current folder.
    #[arg(value_name = "NAME")]
    name: Name,

    /// The language.
    #[arg(long, value_name = "LANGUAGE", value_enum, default_value_t = Language::Rust)]
    lang: Language,

    /// What the capsule does at first.
    #[arg(long, value_name = "TEMPLATE", value_enum, default_value_t = Purpose::Hello)]
    template: Purpose,
}

/// Runs the command and returns its exit code.
pub(crate) async fn new(args: NewArgs) -> u8 {
    let name = args.name.as_str().to_owned();
    let Some(files) = files(args.lang, args.template, &name) else {
        return told(
            "this template exists only in Rust: leave out --lang or --template",
            BAD_USAGE,
        );
    };
    let mut interrupts = match Interrupts::new() {
        Ok(interrupts) => interrupts,
        Err(error) => return told(&format!("cannot receive signals: {error}"), FAILED),
    };
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut writing = spawn_blocking({
        let (name, cancelled) = (name.clone(), Arc::clone(&cancelled));
        move || create_folder(Path::new(&name), &files, &cancelled)
    });
    let (written, interrupt) = tokio::select! {
        written = &mut writing => (written, None),
        interrupt = interrupts.next() => {
            cancelled.store(true, Ordering::Relaxed);
            // It removes what it has written, or has made the folder already.
            (writing.await, Some(interrupt))
        }
    };
    match (written, interrupt) {
        (Ok(Ok(())), _) => {
            let first = match args.template {
                Purpose::Hello => format!("capsule run {name} hello"),
                Purpose::Server => format!("capsule run --grant-all-asked {name} start get stop"),
            };
            console::tell(&format!(
                "made the folder {name}; its README.md names the commands, and this is the first:\n{first}"
            ));
            SUCCEEDED
        }
        (Ok(Err(NotWritten::Cancelled)), Some(interrupt)) => {
            told(&format!("ended by {}", interrupt.name()), interrupt.exit_code())
        }
        (Ok(Err(error @ NotWritten::Exists(_))), _) => told(&format!("{error}: choose another name"), BAD_USAGE),
        (Ok(Err(error)), _) => told(&error.to_string(), FAILED),
        (Err(panic), _) => told(
            &format!("a bug in this program ended it: {panic}; please report it"),
            FAILED,
        ),
    }
}

fn told(error: &str, code: u8) -> u8 {
    console::error(error);
    code
}
