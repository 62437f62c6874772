//! Terminals of the tree's own, for programs that run others in one (`script`, `tmux`, Python's `pty`).
//!
//! A fresh instance of the file system of pseudo terminals: its numbers start at 0, and no terminal of the host or of
//! another tree is in it. The kernel keeps some of the machine's terminals for the namespace that it began with, so that
//! trees cannot take the last ones; how many one tree may have is bounded here.

use capsule_init::{Layer, Report};
use rustix::fs::{Mode, mkdir, symlink};
use rustix::mount::{MountFlags, mount};

use crate::failure::At;

const LAYER: Layer = Layer::Mounts;

const FOLDER: &str = "/dev/pts";

/// No `gid=tty`: an ordinary user has no such group in its namespace. A terminal belongs to who opens it.
const OPTIONS: &core::ffi::CStr = c"newinstance,ptmxmode=0666,mode=0620,max=64";

/// Makes them, in a `/dev` that is the tree's own.
pub(crate) fn put() -> Result<(), Report> {
    mkdir(FOLDER, Mode::from_raw_mode(0o755)).at(LAYER, FOLDER)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", FOLDER, "devpts", flags, OPTIONS).at(LAYER, FOLDER)?;
    symlink("pts/ptmx", "/dev/ptmx").at(LAYER, "/dev/ptmx")
}
