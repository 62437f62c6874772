//! Terminals of the tree's own, for programs that run other programs in a terminal (`script`, `tmux`, Python's `pty`).
//!
//! Each tree has a new instance of devpts: its numbers start at 0, and it contains no terminal of the host or of
//! another tree. The kernel reserves some of the machine's terminals for the initial namespace, so that
//! trees cannot take the last ones. This file bounds the number of terminals of one tree.

use capsule_init::{Layer, Report};
use rustix::fs::{Mode, mkdir, symlink};
use rustix::mount::{MountFlags, mount};

use crate::failure::At;

const LAYER: Layer = Layer::Mounts;

const FOLDER: &str = "/dev/pts";

/// No `gid=tty`: an ordinary user has no such group in its namespace. A terminal belongs to the user that opens it.
const OPTIONS: &core::ffi::CStr = c"newinstance,ptmxmode=0666,mode=0620,max=64";

/// Makes the terminals, in the tree's own `/dev`.
pub(crate) fn put() -> Result<(), Report> {
    mkdir(FOLDER, Mode::from_raw_mode(0o755)).at(LAYER, FOLDER)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", FOLDER, "devpts", flags, OPTIONS).at(LAYER, FOLDER)?;
    symlink("pts/ptmx", "/dev/ptmx").at(LAYER, "/dev/ptmx")
}
