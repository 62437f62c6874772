//! Samples the processes of a tree from outside, where the kernel does not add up their usage (contract R1).
//!
//! Every process is hostile and may hide: by living a short time, by leaving its parent, by ending its first thread, by keeping
//! memory that is not mapped, or by executing a program that cannot be read. Usage that cannot be seen is estimated too high, never
//! too low. The one exception is a process that lives for less than the time between two samples: its usage is lost unless
//! the kernel's own counter includes it.

use std::collections::{HashMap, HashSet};
use std::fs::{File, metadata, read, read_dir};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::socket_list::{SocketList, Table, Which};

/// The most processes of a tree that a sample reads, however fast the tree grows. A tree with more processes counts as unlimited.
pub(super) const MOST: usize = 4096;

/// The memory that a socket counts for: its buffers at their usual sizes, full of the smallest messages, which cost the most. The
/// kernel reports the content of the buffers only within the tree's network namespace.
const SOCKET: u64 = 280 << 10;

/// How many sockets of a network count for nothing, because most sockets hold little, and some are the host's own. Together they hold less than a tree can fill
/// between two samples.
const SPARE_SOCKETS: u64 = 128;

/// The memory that an open file counts for: the kernel's own data for it, and its part of a pipe. A pipe holds two pages if its
/// user has many pipes. Before that, all pipes of a user hold 64 MiB together.
const OPEN_FILE: u64 = 4 << 10;

/// One tree, which is sampled repeatedly.
#[derive(Debug)]
pub(crate) struct TreeSampler {
    init: u32,
    /// The command, as long as it exists.
    command: Option<u32>,
    /// Whether the tree has a tmpfs and a network of its own.
    private: Private,
    most: usize,
    /// The processor times of the processes in the last sample, by pid and start time.
    clocks: HashMap<(u32, u64), Duration>,
    /// The processor time of the processes that ended between samples.
    past: Duration,
}

/// The resources that a tree does not share with the host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Private {
    /// Whether `/tmp` is a tmpfs of its own.
    pub(crate) tmp: bool,
    /// Whether its sockets are in another network than the host's. Other trees of its owner may share it: then all sockets there
    /// count for each of them, because the kernel does not say whose a socket on its way in another one is.
    pub(crate) network: bool,
    /// The list of the sockets in that network. It would keep a network that has ended.
    pub(crate) list: Option<Weak<SocketList>>,
}

impl Private {
    /// The list, while the network is there.
    pub(super) fn list(&self) -> Option<Arc<SocketList>> {
        self.list.as_ref()?.upgrade()
    }
}

impl TreeSampler {
    pub(crate) fn new(init: u32, command: Option<u32>, private: Private) -> Self {
        Self {
            init,
            command,
            private,
            most: MOST,
            clocks: HashMap::new(),
            past: Duration::ZERO,
        }
    }

    /// The memory that the tree holds, in bytes: the private memory of its processes and the kernel's page tables for it, shared
    /// memory in full as soon as it is mapped, the content of its tmpfs, and the estimate for its sockets and other files.
    pub(crate) fn memory(&self) -> u64 {
        let processes = descendants(self.init, self.most);
        if processes.len() >= self.most {
            // There may be other lines with any content.
            return u64::MAX;
        }
        let mut own = 0_u64;
        let mut shared = HashMap::<String, u64>::new();
        for &pid in &processes {
            own = own.saturating_add(open_files(pid).saturating_mul(OPEN_FILE));
            // The first thread may have ended, and then shows no memory.
            for thread in threads(pid) {
                let Ok(status) = text(thread.join("status")) else {
                    continue;
                };
                if bytes(&status, "VmSize:").is_none() {
                    continue;
                }
                own = own.saturating_add(
                    ["RssAnon:", "VmSwap:", "VmPTE:"]
                        .iter()
                        .filter_map(|name| bytes(&status, name))
                        .sum(),
                );
                match text(thread.join("maps")) {
                    Ok(maps) => {
                        for (object, size) in shared_memory(&maps) {
                            let known = shared.entry(object).or_default();
                            *known = size.max(*known);
                        }
                    }
                    // Only root may inspect a program that may not be read. For others it counts as all that it could
                    // have.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        own = own.saturating_add(bytes(&status, "VmSize:").unwrap_or_default());
                    }
                    Err(_) => {}
                }
                break;
            }
        }
        let sockets = if self.private.network {
            sockets(self.init, self.private.list().as_deref())
        } else {
            0
        };
        let in_sockets = sockets.saturating_sub(SPARE_SOCKETS).saturating_mul(SOCKET);
        own.saturating_add(shared.into_values().sum())
            .saturating_add(self.tmpfs(&processes))
            .saturating_add(in_sockets)
    }

    /// The bytes in the tree's own tmpfs, read through a process that sees it. A process whose first thread has ended shows no
    /// root, and only root may look at that of init.
    fn tmpfs(&self, processes: &HashSet<u32>) -> u64 {
        if !self.private.tmp {
            return 0;
        }
        let first = self.command.into_iter().chain([self.init]);
        let first = first.map(|pid| PathBuf::from(format!("/proc/{pid}")));
        first
            .chain(processes.iter().flat_map(|pid| threads(*pid)))
            .find_map(|process| tmpfs(&process.join("root/tmp")))
            .unwrap_or_default()
    }

    /// The processor time of all processes that were seen in some sample. The time that each process used after its last sample is
    /// missing.
    pub(crate) fn cpu(&mut self) -> Duration {
        let stats = descendants(self.init, self.most).into_iter().filter_map(|pid| {
            let (start, time) = clock(&text(format!("/proc/{pid}/stat")).ok()?)?;
            Some(((pid, start), time))
        });
        let live: HashMap<_, _> = stats.collect();
        let ended = self.clocks.iter().filter(|(process, _)| !live.contains_key(process));
        self.past += ended.map(|(_, time)| *time).sum::<Duration>();
        self.clocks = live;
        self.past + self.clocks.values().sum::<Duration>()
    }
}

/// A file of `/proc`. A process may choose any bytes for its name and for a file that it maps. Bytes that are not UTF-8 are
/// replaced, because a process that could not be read would be left out.
pub(crate) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read(path)?).into_owned())
}

/// The same for a file that is shorter than a kilobyte, which one call returns.
pub(crate) fn short_text(path: &str) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let length = File::open(path)?.read(&mut bytes)?;
    Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
}

/// Every process below `ancestor`, up to so many. Orphans are init's children, so all of a tree is found from its init.
pub(super) fn descendants(ancestor: u32, most: usize) -> HashSet<u32> {
    let mut found = HashSet::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        for thread in threads(parent) {
            let children = text(thread.join("children")).unwrap_or_default();
            for child in children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
                if found.len() < most && found.insert(child) {
                    parents.push(child);
                }
            }
        }
    }
    found
}

pub(super) fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    let threads = read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().map(|thread| thread.path())
}

/// Shared memory without a file: how much of it is mapped, by the name that `/proc/PID/maps` gives each piece.
fn shared_memory(maps: &str) -> HashMap<String, u64> {
    let mut sizes = HashMap::new();
    for line in maps.lines().filter(|line| line.ends_with("/dev/zero (deleted)")) {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(_), Some(_), Some(device), Some(inode)) = (
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
        ) else {
            continue;
        };
        let size = range.split_once('-').and_then(|(from, to)| {
            u64::from_str_radix(to, 16)
                .ok()?
                .checked_sub(u64::from_str_radix(from, 16).ok()?)
        });
        *sizes.entry(format!("{device} {inode}")).or_default() += size.unwrap_or_default();
    }
    sizes
}

/// The bytes in the tmpfs at `path`; none if no tmpfs is seen there.
fn tmpfs(path: &Path) -> Option<u64> {
    let fs = rustix::fs::statvfs(path).ok()?;
    Some((fs.f_blocks - fs.f_bfree.min(fs.f_blocks)).saturating_mul(fs.f_frsize))
}

/// The number of open files of a process. A kernel before 6.2 reports 0.
fn open_files(pid: u32) -> u64 {
    metadata(format!("/proc/{pid}/fd")).map_or(0, |fd| fd.len())
}

/// The number of sockets in the network of a process whose buffers may hold something, including those on their way in others.
///
/// The kernel shows the content of the queues of TCP and UDP, but not the memory that it takes. So a socket with an empty queue
/// counts for nothing, and every other one for all that it may hold; one of TCP has two full buffers.
fn sockets(pid: u32, list: Option<&SocketList>) -> u64 {
    let counts = short_text(&format!("/proc/{pid}/net/sockstat")).unwrap_or_default();
    let mut sockets = in_use(&counts, "sockets: used ").unwrap_or_default();
    // Even if all of them have two full buffers, they count for nothing. A table takes the kernel more than a millisecond.
    if sockets <= SPARE_SOCKETS / 2 {
        return sockets;
    }
    // A kernel without IPv6 has no such file.
    let counts = counts + &short_text(&format!("/proc/{pid}/net/sockstat6")).unwrap_or_default();
    for (name, table, buffers) in [
        ("tcp", Table::Tcp, 2),
        ("tcp6", Table::Tcp6, 2),
        ("udp", Table::Udp, 1),
        ("udp6", Table::Udp6, 1),
    ] {
        if in_use(&counts, &format!("{}: inuse ", name.to_ascii_uppercase())).unwrap_or_default() == 0 {
            continue;
        }
        let (mut opened, mut held) = (0, 0);
        let listed = list.map(|list| {
            list.each(table, Which::Open, |socket| {
                opened += u64::from(socket.inode != 0);
                held += u64::from(socket.holds_data);
            })
        });
        match listed {
            Some(Ok(true)) => {}
            // More than it reads of them: they may hold anything.
            Some(Ok(false)) => return u64::MAX,
            None | Some(Err(_)) => match text(format!("/proc/{pid}/net/{name}")) {
                Ok(table) => (opened, held) = open_and_held(&table),
                Err(_) => continue,
            },
        }
        sockets = sockets.saturating_sub(opened).saturating_add(held * buffers);
    }
    sockets
}

/// The number behind this name in `/proc/PID/net/sockstat` or `sockstat6`.
fn in_use(counts: &str, name: &str) -> Option<u64> {
    let count = counts.lines().find_map(|line| line.strip_prefix(name))?;
    count.split_ascii_whitespace().next()?.parse().ok()
}

/// Of a table of sockets in `/proc/PID/net`: how many are open files, and how many hold data.
fn open_and_held(table: &str) -> (u64, u64) {
    /// The queue of a listener counts connections.
    const LISTEN: &str = "0A";
    let (mut opened, mut held) = (0, 0);
    for line in table.lines().skip(1) {
        let mut fields = line.split_ascii_whitespace().skip(3);
        let (Some(state), Some(queues), Some(inode)) = (fields.next(), fields.next(), fields.nth(4)) else {
            continue;
        };
        opened += u64::from(inode != "0");
        held += u64::from(state != LISTEN && queues != "00000000:00000000");
    }
    (opened, held)
}

/// A value of a file in `/proc` that counts in KiB, in bytes.
pub(crate) fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// When a process started, and its user and system time, of `/proc/PID/stat`, which counts in hundredths of a second.
pub(super) fn clock(stat: &str) -> Option<(u64, Duration)> {
    // The second field is the program's name, which may contain any character, and ends at the last parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let ticks = next()? + next()?;
    let start = fields.nth(6)?.parse().ok()?;
    Some((start, Duration::from_millis(ticks * 10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x6_the_clock_is_read_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 120 0 0 0 150 50 1 2 20 0 1 0 555 6 7";
        assert_eq!(clock(stat), Some((555, Duration::from_secs(2))));
        assert_eq!(clock("7 (a"), None);
    }

    /// Two processes of this test, and a tree with the given limit on processes.
    fn memory_with_at_most(most: usize) -> u64 {
        let mut children: Vec<_> = (0..2)
            .map(|_| {
                #[expect(clippy::disallowed_methods, reason = "a child to be looked at")]
                let mut sleep = std::process::Command::new("sleep");
                sleep.arg("60").spawn().expect("a process")
            })
            .collect();
        let mut sampler = TreeSampler::new(std::process::id(), None, Private::default());
        sampler.most = most;
        let memory = sampler.memory();
        for child in &mut children {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
        memory
    }

    #[test]
    fn r1_a_socket_counts_if_it_holds_data() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 11 1 0 100 0 0 10 0\n\
            1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 20 4 30 10 -1\n\
            2: 0100007F:1F90 0100007F:C002 01 00000000:00000001 00:00000000 00000000  1000        0 13 1 0 20 4 30 10 -1\n\
            3: 0100007F:1F90 0100007F:C003 01 00000000:00000009 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1\n";
        assert_eq!(open_and_held(table), (3, 2));
    }

    #[test]
    fn r1_a_tree_too_large_to_be_looked_at_is_over_its_limit() {
        assert_eq!(memory_with_at_most(2), u64::MAX);
        assert!(memory_with_at_most(4000) < 1 << 40);
    }

    #[test]
    fn r1_shared_memory_is_known_by_what_it_is() {
        let maps = "1000-3000 rw-s 00000000 00:01 77   /dev/zero (deleted)\n\
                    5000-6000 rw-s 00002000 00:01 77   /dev/zero (deleted)\n\
                    7000-8000 rw-p 00000000 00:00 0\n\
                    9000-a000 rw-s 00000000 00:01 78   /dev/zero (deleted)\n";
        let expected = HashMap::from([("00:01 77".to_owned(), 0x3000), ("00:01 78".to_owned(), 0x1000)]);
        assert_eq!(shared_memory(maps), expected);
    }
}
