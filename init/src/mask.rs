//! What `/proc` tells of the whole machine, and so of others, is covered.
//!
//! A process namespace hides processes, and nothing of the rest: counters that rise with every key pressed, every block
//! written and every lock taken by others. The tree's own `/proc` shows them as empty. What programs ask for in order to
//! run (`cpuinfo`, `meminfo`, `stat`, `uptime`, `loadavg`) stays, and tells of others what it tells. What only root may
//! read is not named here, for no tree is root to the kernel.

use capsule_init::{Layer, Report};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind};

use crate::failure::At;

const LAYER: Layer = Layer::Mounts;

/// Files that read as empty from here on.
const FILES: [&str; 25] = [
    // Keys of others, and how many each user has.
    "/proc/keys",
    "/proc/key-users",
    // Who locks which file.
    "/proc/locks",
    // Every interrupt: of keys pressed, packets, disks.
    "/proc/interrupts",
    "/proc/softirqs",
    // How the machine was started, at times with a secret.
    "/proc/cmdline",
    // Where the kernel is in memory.
    "/proc/kallsyms",
    // What is loaded, and by how many it is used.
    "/proc/modules",
    // What all processes together do with memory.
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/proc/buddyinfo",
    "/proc/swaps",
    // With disks.
    "/proc/diskstats",
    "/proc/partitions",
    "/proc/mdstat",
    // With processors, in kernels that tell.
    "/proc/schedstat",
    "/proc/sched_debug",
    "/proc/timer_stats",
    "/proc/latency_stats",
    // How much of what all share is in use.
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
    // Hardware, and what it is doing.
    "/proc/acpi",
    "/proc/asound",
    "/proc/bus",
    "/proc/driver",
    "/proc/irq",
    "/proc/scsi",
    // Of quotas.
    "/proc/sys/fs/quota",
];

/// Covers them. `/dev/null` must be there.
pub(crate) fn cover() -> Result<(), Report> {
    let [first, others @ ..] = FOLDERS;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    mount("tmpfs", first, "tmpfs", flags, c"mode=0555,size=4k,nr_inodes=1").at(LAYER, first)?;
    let files = FILES.iter().map(|file| ("/dev/null", *file));
    for (cover, covered) in files.chain(others.iter().map(|folder| (first, *folder))) {
        match mount_bind(cover, covered) {
            // Not every kernel has each.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).at(LAYER, covered),
        }
    }
    Ok(())
}
