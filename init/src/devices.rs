//! The devices that programs expect and that reveal nothing.
//!
//! Every file of a device leads to the same driver, but a shared file connects its users: a process that sees the host's
//! `/dev/null` can watch who opens it, and can hold a lock on it. So each tree has device files of its own. Only root may make
//! such files. An ordinary user's tree gets the host's files, which stay open to all users.

use std::os::fd::OwnedFd;
use std::path::Path;

use capsule_init::{Layer, Report};
use rustix::fs::{CWD, FileType, Mode, makedev, mkdir, mknodat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::failure::At;
use crate::mount_point::{Tree, place};

const LAYER: Layer = Layer::Mounts;

/// The devices with their numbers, which are the same in every kernel.
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    // The controlling terminal of the process that opens it, which can only be a terminal of the tree.
    ("/dev/tty", 5, 0),
];

/// The host's devices, if this process may not make its own.
pub(crate) type Held = Option<[Result<OwnedFd, Report>; DEVICES.len()]>;

/// A device that is made to find out whether this process may make devices. It lies in a file system of this process, which is soon
/// covered.
const PROBE: &str = "/dev/probe";

/// Takes the host's devices if they are needed. A file system of this process must cover `/dev`; `host` is the host's folder beneath
/// it.
///
/// The host's devices are taken only where they are needed: to free a detached mount that was never attached, the kernel waits
/// until no processor can still use it, which takes milliseconds on a busy machine.
pub(crate) fn take(host: OwnedFd) -> Held {
    if make(PROBE, 1, 3).is_ok() {
        return None;
    }
    Some(DEVICES.map(|(device, ..)| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let name = device.trim_start_matches("/dev/");
        open_tree(&host, name, flags).at(LAYER, device)
    }))
}

/// Puts the devices into the new root, whose mount must allow devices.
pub(crate) fn put(held: Held) -> Result<(), Report> {
    mkdir("/dev", Mode::from_raw_mode(0o755)).at(LAYER, "/dev")?;
    let Some(held) = held else {
        return DEVICES
            .into_iter()
            .try_for_each(|(at, major, minor)| make(at, major, minor).at(LAYER, at));
    };
    held.into_iter().zip(DEVICES).try_for_each(|(fd, (at, ..))| {
        let at = Path::new(at);
        place(&Tree { fd: fd?, at })
    })
}

/// Makes a device. The kernel refuses this to an ordinary user, and to root of a container without that right.
fn make(at: &str, major: u32, minor: u32) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, at, FileType::CharacterDevice, mode, makedev(major, minor))
}
