//! The devices that programs expect and that give nothing away.
//!
//! A device leads to the same driver through whichever file, but a file is a place to meet: what opens `/dev/null` of the
//! host can be watched there, and a lock on it held, by everybody who has it in sight. So they are files of the tree's own.
//! Only root may make such files; an ordinary user's tree gets those of the host, and what is open to everybody stays so.

use std::os::fd::OwnedFd;
use std::path::Path;

use capsule_init::{Layer, Report};
use rustix::fs::{CWD, FileType, Mode, makedev, mkdir, mknodat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::failure::At;
use crate::mounts::{Tree, place};

const LAYER: Layer = Layer::Mounts;

/// With their numbers, which are the same in every kernel.
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    // Whichever terminal a process has, which can only be one of the tree's own.
    ("/dev/tty", 5, 0),
];

/// The host's, held until it is known whether they are needed.
pub(crate) type Held = [Result<OwnedFd, Report>; DEVICES.len()];

/// To be called while the host's root is in sight.
pub(crate) fn take() -> Held {
    DEVICES.map(|(device, ..)| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(CWD, device, flags).at(LAYER, device)
    })
}

/// To be called in the new root, where files may be devices.
pub(crate) fn put(held: Held) -> Result<(), Report> {
    mkdir("/dev", Mode::from_raw_mode(0o755)).at(LAYER, "/dev")?;
    for (fd, (at, major, minor)) in held.into_iter().zip(DEVICES) {
        let mode = Mode::from_raw_mode(0o666);
        match mknodat(CWD, at, FileType::CharacterDevice, mode, makedev(major, minor)) {
            Ok(()) => {}
            // As an ordinary user, and as root of a container that may not.
            Err(Errno::PERM | Errno::ACCESS) => {
                let at = Path::new(at);
                place(&Tree { fd: fd?, at })?;
            }
            Err(errno) => return Err(errno).at(LAYER, at),
        }
    }
    Ok(())
}
