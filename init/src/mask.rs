//! Covers the files of `/proc` about the whole machine, which reveal the activity of others.
//!
//! A pid namespace hides only processes. It does not hide counters that rise with every key pressed, every block
//! written and every lock taken by others. The tree's own `/proc` shows these files as empty. Files that programs need
//! (`cpuinfo`, `meminfo`, `stat`, `uptime`, `loadavg`) stay visible, although they reveal something about others. Files that only
//! root may read are not listed here, because no tree is root to the kernel.

use capsule_init::{Layer, Report};
use rustix::fs::{CWD, Mode, OFlags, open, unlink};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind};

use crate::failure::At;
use crate::sys;

const LAYER: Layer = Layer::Mounts;

/// Files that read as empty from here on.
const FILES: [&str; 25] = [
    // Every interrupt: of keys pressed, packets, disks. The first file is in every kernel.
    "/proc/interrupts",
    "/proc/softirqs",
    // Keys of others, and how many each user has.
    "/proc/keys",
    "/proc/key-users",
    // The holders of file locks.
    "/proc/locks",
    // The kernel's command line, which may contain a secret.
    "/proc/cmdline",
    // The kernel's addresses in memory.
    "/proc/kallsyms",
    // The loaded modules, and their numbers of users.
    "/proc/modules",
    // The memory activity of all processes together.
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/proc/buddyinfo",
    "/proc/swaps",
    // Activity of disks.
    "/proc/diskstats",
    "/proc/partitions",
    "/proc/mdstat",
    // Activity of processors, in kernels that report it.
    "/proc/schedstat",
    "/proc/sched_debug",
    "/proc/timer_stats",
    "/proc/latency_stats",
    // The used part of shared resources.
    "/proc/sys/fs/aio-nr",
    "/proc/sys/fs/dentry-state",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inode-nr",
    "/proc/sys/fs/inode-state",
    "/proc/sys/kernel/pty/nr",
];

/// Folders that are empty from here on. The first is in every kernel.
const FOLDERS: [&str; 9] = [
    // Statistics of file systems, exports.
    "/proc/fs",
    // How long tasks wait for processors, memory and disks.
    "/proc/pressure",
    // Hardware and its activity.
    "/proc/acpi",
    "/proc/asound",
    "/proc/bus",
    "/proc/driver",
    "/proc/irq",
    "/proc/scsi",
    // Activity of disk quotas.
    "/proc/sys/fs/quota",
];

/// The empty file that covers other files. Its name is removed once all of them are covered.
const EMPTY: &str = "/proc/fs/empty";

/// Covers them. Files are covered by an empty file and not by `/dev/null`, because a write to `/dev/null` succeeds.
pub(crate) fn cover() -> Result<(), Report> {
    let [first, others @ ..] = FOLDERS;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", first, "tmpfs", flags, c"mode=0555,size=4k,nr_inodes=2").at(LAYER, first)?;
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    open(EMPTY, create, Mode::from_raw_mode(0o444)).at(LAYER, EMPTY)?;
    let each = |cover: &str, all: &[&str]| {
        all.iter().try_for_each(|covered| match mount_bind(cover, *covered) {
            // A kernel may lack some of these files.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).at(LAYER, covered),
        })
    };
    // A bind of a read-only mount is read-only.
    let read_only = |at: &str, path| sys::mount_setattr(CWD, path, false, libc::MOUNT_ATTR_RDONLY, 0).at(LAYER, at);
    let [file, files @ ..] = FILES;
    mount_bind(EMPTY, file).at(LAYER, file)?;
    read_only(file, c"/proc/interrupts")?;
    each(file, &files)?;
    unlink(EMPTY).at(LAYER, EMPTY)?;
    read_only(first, c"/proc/fs")?;
    each(first, &others)
}
