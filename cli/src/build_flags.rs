//! What a user allows a build: the options that `capsule run`, `capsule mcp` and `capsule build` share.

use clap::Args;

/// How a folder is built.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct BuildFlags {
    /// Build a folder with all your rights, instead of confined.
    ///
    /// A build runs code: build scripts, macros, programs that the folder's configuration names, and the code of every
    /// crate that it depends on. Use this only for capsules that you trust with all your rights.
    #[arg(long)]
    pub(crate) trust_build: bool,

    /// Build with files that the capsule's own processes have made or changed in its folder.
    ///
    /// Such files appear if the workspace contains the folder of the capsule, or lies in it. Without this option the build is refused,
    /// and the files are named. Examine them first: the build executes them, or makes them part of the capsule.
    #[arg(long)]
    pub(crate) accept_changes: bool,
}
