//! Control groups of version 2: one for each tree, in a directory that this host was given.
//!
//! ```text
//! GIVEN/                    belongs to another program; the host writes only its `cgroup.subtree_control`
//!   capsule-host-4f2a…/     belongs to this host, which keeps it locked for as long as it lives
//!     0/ 1/ 2/ …            one for each tree, for as long as the tree lives
//! ```
//!
//! No process is ever moved: a tree is born in its group. The lock shows hosts that share a directory which groups a killed host
//! left behind: a group that is not locked has no host, and the next host to start removes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, fstat, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::clone_into_cgroup;

/// The prefix of the directory of every host; a number of the host's own follows.
const HOST: &str = "capsule-host-";

/// The longest time until a group is empty after all its processes were killed.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(1);

/// The controllers that this file uses, by the kernel's names.
pub(crate) const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// The limits and counters that the kernel keeps for a group, besides processor time, which it counts for every group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Controllers {
    pub(crate) memory: bool,
    pub(crate) pids: bool,
}

/// The groups of this host.
#[derive(Debug)]
pub(crate) struct Groups {
    given: OwnedFd,
    given_path: PathBuf,
    name: String,
    directory: OwnedFd,
    controllers: Controllers,
    next: AtomicU64,
}

/// Why no groups can be made in a directory.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// The directory does not exist, or is not in a file system of control groups, version 2.
    NoGroup(Errno),
    /// This user may create nothing in the directory.
    Closed(Errno),
    /// The directory contains processes itself, so its groups cannot be limited.
    Occupied,
    /// Processes cannot be made in groups.
    NoCloneInto(Errno),
}

impl Groups {
    /// Prepares the directory at `path` for groups. With `enable`, the controllers that the directory has and does not pass to its
    /// groups are enabled there. Without `enable`, groups have only the controllers that the directory already passes on.
    pub(crate) fn within(path: &Path, enable: bool) -> Result<Self, Unusable> {
        let given = open_directory(CWD, path).map_err(Unusable::NoGroup)?;
        let available = read(&given, "cgroup.controllers").map_err(Unusable::NoGroup)?;
        clone_into_cgroup::is_possible().map_err(Unusable::NoCloneInto)?;
        if enable {
            hand_on(&given, &available).map_err(|errno| match errno {
                Errno::BUSY => Unusable::Occupied,
                errno => Unusable::Closed(errno),
            })?;
        }
        sweep(&given);
        let (name, directory) = locked(&given).map_err(Unusable::Closed)?;
        let mut groups = Self {
            given,
            given_path: path.into(),
            name,
            controllers: Controllers::default(),
            directory,
            next: AtomicU64::new(0),
        };
        let available = read(&groups.directory, "cgroup.controllers").map_err(Unusable::Closed)?;
        hand_on(&groups.directory, &available).map_err(Unusable::Closed)?;
        let has = |name| available.split_ascii_whitespace().any(|it| it == name);
        groups.controllers = Controllers {
            memory: has("memory"),
            pids: has("pids"),
        };
        Ok(groups)
    }

    /// The directory that the host was given.
    pub(crate) fn given(&self) -> &Path {
        &self.given_path
    }

    pub(crate) fn controllers(&self) -> Controllers {
        self.controllers
    }

    /// Makes the group of one tree, with its limits. The directory must have the controllers for these limits.
    pub(crate) fn group(self: &Arc<Self>, memory: Option<u64>, pids: Option<u64>) -> io::Result<Group> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        mkdirat(&self.directory, name.as_str(), Mode::from_raw_mode(0o755))?;
        let made = Made(self, &name);
        let directory = open_directory(&self.directory, name.as_str())?;
        if let Some(bytes) = memory {
            // The kernel ends all of the group when it is out of memory: a tree without one of its processes is
            // useless, and the remaining ones could fill the memory again.
            write(&directory, "memory.oom.group", "1")?;
            match write(&directory, "memory.swap.max", "0") {
                // The kernel has no swap.
                Err(Errno::NOENT) => {}
                other => other?,
            }
            write(&directory, "memory.max", &bytes.to_string())?;
        }
        if let Some(pids) = pids {
            write(&directory, "pids.max", &pids.to_string())?;
        }
        std::mem::forget(made);
        Ok(Group {
            groups: Arc::clone(self),
            name,
            directory,
        })
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // If a group in the directory could not be removed, neither can the directory. The next host to start removes
        // it.
        let _ = unlinkat(&self.given, self.name.as_str(), AtFlags::REMOVEDIR);
    }
}

/// A group that is removed unless it is completed.
struct Made<'a>(&'a Groups, &'a str);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(&self.0.directory, self.1, AtFlags::REMOVEDIR);
    }
}

/// The group of one tree. Dropping it kills the processes in the group and removes it.
#[derive(Debug)]
pub(crate) struct Group {
    groups: Arc<Groups>,
    name: String,
    directory: OwnedFd,
}

impl Group {
    pub(crate) fn has_memory(&self) -> bool {
        self.groups.controllers.memory
    }

    /// The user and system time of all processes that were ever in the group.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        number(&self.read("cpu.stat")?, "usage_usec").map(Duration::from_micros)
    }

    /// The peak of the group's memory, in bytes: its processes, the files that were first read or written in the group, and the
    /// kernel's memory for both.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.read("memory.peak")?.trim().parse().ok()
    }

    /// Whether the kernel ended processes because the group reached its own limit. A limit of the machine or of a group
    /// above does not count.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.read("memory.events").is_some_and(|events| {
            let happened = |name| number(&events, name).is_some_and(|times| times > 0);
            happened("oom") && happened("oom_kill")
        })
    }

    /// Kills every process of the group, including those that are being created. Does nothing on a kernel before 5.14.
    pub(crate) fn kill(&self) {
        kill(&self.directory);
    }

    /// Kills the processes in the group and removes it. Its counters cannot be read afterwards.
    pub(crate) fn remove(&self) {
        let deadline = Instant::now() + EMPTY_TIMEOUT;
        remove(&self.groups.directory, &self.name, &self.directory, deadline);
    }

    fn read(&self, file: &str) -> Option<String> {
        read(&self.directory, file).ok()
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes a group from its directory. Processes in the group are ended first.
fn remove(from: &OwnedFd, name: &str, group: &OwnedFd, deadline: Instant) {
    let remove = || unlinkat(from, name, AtFlags::REMOVEDIR);
    if remove() == Err(Errno::BUSY) {
        kill(group);
        wait_until_empty(group, deadline);
        // A process that has not ended keeps the group, and the next host to start removes it.
        let _ = remove();
    }
}

fn kill(group: &OwnedFd) {
    let _ = write(group, "cgroup.kill", "1");
}

fn wait_until_empty(group: &OwnedFd, deadline: Instant) {
    let Ok(events) = openat(group, "cgroup.events", READ, Mode::empty()) else {
        return;
    };
    // The kernel reports a change between two reads, or at the next poll, so no change is missed.
    while contents(&events).is_ok_and(|events| number(&events, "populated") == Some(1)) {
        let rest = deadline.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(rest) else { return };
        let mut changed = [PollFd::new(&events, PollFlags::PRI)];
        match poll(&mut changed, Some(&timeout)) {
            Ok(0) => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Makes a directory of this host's own, and locks it. A host that sweeps locks a directory before it removes it. So either this
/// host locks first, or its directory has been removed and it makes another.
fn locked(given: &OwnedFd) -> rustix::io::Result<(String, OwnedFd)> {
    loop {
        let number = getrandom::u64().map_err(|_| Errno::AGAIN)?;
        let name = format!("{HOST}{number:016x}");
        mkdirat(given, name.as_str(), Mode::from_raw_mode(0o755))?;
        let gone = |errno| match errno {
            Errno::NOENT | Errno::NODEV => Ok(()),
            errno => Err(errno),
        };
        let directory = match open_directory(given, name.as_str()) {
            Ok(directory) => directory,
            Err(errno) => {
                gone(errno)?;
                continue;
            }
        };
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
        match statat(given, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if found.st_ino == fstat(&directory)?.st_ino => return Ok((name, directory)),
            Ok(_) => {}
            Err(errno) => gone(errno)?,
        }
    }
}

/// Removes what dead hosts have left. The trees in their groups end by themselves, perhaps later than this. All waits together
/// have one bound, because a host starts only after them, and a dead host may have left thousands of groups.
fn sweep(given: &OwnedFd) {
    let deadline = Instant::now() + EMPTY_TIMEOUT;
    for name in directories(given).filter(|name| name.starts_with(HOST)) {
        let Ok(left) = open_directory(given, name.as_str()) else {
            continue;
        };
        if rustix::fs::flock(&left, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        for name in directories(&left) {
            if let Ok(group) = open_directory(&left, name.as_str()) {
                remove(&left, &name, &group, deadline);
            }
        }
        let _ = unlinkat(given, name.as_str(), AtFlags::REMOVEDIR);
    }
}

/// The directories in a directory. All other entries are the kernel's own files.
fn directories(directory: &OwnedFd) -> impl Iterator<Item = String> {
    let entries = Dir::read_from(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type() == rustix::fs::FileType::Directory)
        .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
        .filter(|name| name != "." && name != "..")
}

/// Enables for the groups of a directory those controllers of `available` that this file uses and that they do not
/// have.
fn hand_on(directory: &OwnedFd, available: &str) -> rustix::io::Result<()> {
    let handed = read(directory, "cgroup.subtree_control")?;
    let has = |list: &str, name| list.split_ascii_whitespace().any(|it| it == name);
    for name in CONTROLLERS {
        if has(available, name) && !has(&handed, name) {
            write(directory, "cgroup.subtree_control", &format!("+{name}"))?;
        }
    }
    Ok(())
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

fn open_directory(at: impl AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat(at, path, READ.union(OFlags::DIRECTORY), Mode::empty())
}

fn read(directory: &OwnedFd, file: &str) -> rustix::io::Result<String> {
    contents(&openat(directory, file, READ, Mode::empty())?)
}

/// The present content of a file.
fn contents(file: &OwnedFd) -> rustix::io::Result<String> {
    // The longest of these files has some fifteen lines.
    let mut buffer = [0; 4096];
    let read = rustix::io::pread(file, &mut buffer, 0)?;
    Ok(String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()).into_owned())
}

fn write(directory: &OwnedFd, file: &str, value: &str) -> rustix::io::Result<()> {
    let file = openat(directory, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, value.as_bytes()).map(drop)
}

/// The number in the line that begins with `name`.
fn number(lines: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    lines.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x6_a_number_is_read_behind_its_whole_name() {
        let events = "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(number(events, "oom"), Some(1));
        assert_eq!(number(events, "oom_kill"), Some(2));
        assert_eq!(number(events, "oo"), None);
    }

    #[test]
    fn b2_a_folder_that_is_no_control_group_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Groups::within(folder.path(), true);
        assert!(matches!(refused, Err(Unusable::NoGroup(Errno::NOENT))), "{refused:?}");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing is made there"
        );
    }
}
