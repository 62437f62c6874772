//! `capsule wit`: writes the interfaces into a folder, for editors and for the tools of other languages.

use std::path::PathBuf;

use clap::Args;

use crate::console;
use crate::embedded::WIT;
use crate::exit_code::{FAILED, SUCCEEDED};
use crate::files::{Content, complete_folder};

/// Write the interfaces that this command serves into a folder, as WIT. The world of a capsule is `guest`.
///
/// Exit code: 0 if the folder holds them, 1 if it does not: a file in it differs, or it cannot be written.
#[derive(Debug, Args)]
pub(crate) struct WitArgs {
    /// The folder, which is made if need be. Other files in it are left as they are.
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Replace files that differ.
    #[arg(long)]
    force: bool,
}

/// Runs the command and returns its exit code.
pub(crate) fn wit(args: &WitArgs) -> u8 {
    let files: Vec<Content> = WIT.iter().map(|file| Content::new(file.path, file.content)).collect();
    match complete_folder(&args.folder, &files, args.force) {
        Ok(written) => {
            let folder = args.folder.display();
            console::tell(&format!(
                "{folder}: {written} files written, {} as they were",
                files.len() - written
            ));
            SUCCEEDED
        }
        Err(error) => {
            console::error(&error.to_string());
            FAILED
        }
    }
}
