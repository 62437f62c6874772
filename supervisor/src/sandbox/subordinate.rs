//! The subordinate range of an ordinary user, and its use (contract B8).
//!
//! An ordinary user's host cannot run a tree as another user and still own the tree's files, for three reasons. It may not map the
//! owners of a file system that it has not mounted itself. If the real and the effective user id differ, shells and the loader
//! treat the program as set-user-id and drop one of the ids. And an id for file access alone does not survive the start of a
//! program. So the tree runs as the host's user. Only one resource would then be unbounded: the epoll watches. So the kernel counts
//! them for an id of the range, which belongs to one tree at a time.

use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use capsule_init::Layer;
use rustix::process::geteuid;

use super::accounts;
use super::unavailable::UnavailableLayer;
use crate::os::epolls::{EpollServer, NEWUIDMAP};
use crate::os::users::{Lease, Users};

/// The file with the ranges. Each line has a user's name or number, the first number of a range, and its length.
const RANGES: &str = "/etc/subuid";

/// The most numbers that are used: the usual size of a person's range.
const MOST: u32 = 0x1_0000;

/// How long trees are counted together after a failure. A new try takes seconds if a name service hangs.
const AGAIN: Duration = Duration::from_secs(60);

const REMEDY: &str = "as root, install newuidmap (Debian: apt-get install uidmap) and give this user a range that no other user \
                      has: usermod --add-subuids FIRST-LAST USER";

/// The user ids for which watches are counted, and the process that makes the instances.
#[derive(Debug)]
pub(crate) struct Subordinate {
    range: Range<u32>,
    users: Arc<Users>,
    epolls: Arc<EpollServer>,
    /// The time of the last failure, which was logged.
    given_up: Mutex<Option<Instant>>,
}

impl Subordinate {
    /// The range of this user, as far as it can be checked before it is used. `program` is the program of init.
    pub(crate) fn of_host(program: Option<PathBuf>) -> Result<Self, UnavailableLayer> {
        let range = range().ok_or_else(|| missing(&format!("this user has no range in {RANGES}")))?;
        if !is_installed() {
            return Err(missing("there is no newuidmap in PATH"));
        }
        Ok(Self {
            users: Users::within(range.clone(), locks()),
            epolls: Arc::new(EpollServer::new(program, range.clone())),
            range,
            given_up: Mutex::new(None),
        })
    }

    pub(crate) const fn range(&self) -> &Range<u32> {
        &self.range
    }

    /// A number for one tree. Without a number the tree is counted with the others; the host logs that, and tries again after
    /// `AGAIN`.
    pub(crate) fn lease(&self) -> Option<Lease> {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if given_up.is_some_and(|at| at.elapsed() < AGAIN) {
            return None;
        }
        let was_told = given_up.is_some();
        match self.try_lease() {
            Ok(lease) => {
                *given_up = None;
                Some(lease.keeping(Arc::clone(&self.epolls)))
            }
            Err(missing) => {
                *given_up = Some(Instant::now());
                if !was_told {
                    tracing::warn!(
                        "the epoll watches of all commands are counted together, and one command can take them all: {missing}"
                    );
                }
                None
            }
        }
    }

    /// A number for one tree, or the reason why there is none.
    pub(crate) fn try_lease(&self) -> Result<Lease, UnavailableLayer> {
        let named = |error: &dyn std::fmt::Display| missing(&format!("{NEWUIDMAP}: {error}"));
        self.epolls.prepare().map_err(|error| named(&error))?;
        self.users.lease().map_err(|error| missing(&error.to_string()))
    }

    pub(crate) const fn epolls(&self) -> &Arc<EpollServer> {
        &self.epolls
    }
}

fn missing(reason: &str) -> UnavailableLayer {
    UnavailableLayer::new(Layer::Identity, reason, Some(REMEDY))
}

/// The largest range of this user.
fn range() -> Option<Range<u32>> {
    let uid = geteuid().as_raw();
    let lines = accounts::lines(RANGES, 3);
    largest(&lines, uid, accounts::name(uid).as_deref())
}

fn largest(lines: &[Vec<u8>], uid: u32, name: Option<&[u8]>) -> Option<Range<u32>> {
    let number = uid.to_string();
    let ranges = lines.iter().filter_map(|line| {
        let whose = accounts::field(line, 0)?;
        if whose != number.as_bytes() && Some(whose) != name {
            return None;
        }
        let first: u32 = std::str::from_utf8(accounts::field(line, 1)?).ok()?.parse().ok()?;
        let count = accounts::number(line)?.min(MOST);
        // A range that begins with 0, which is root, is left out. The last number is below `u32::MAX`, which is no user.
        (first > 0).then(|| first..first.saturating_add(count))
    });
    ranges
        .filter(|range| !range.is_empty())
        .max_by_key(ExactSizeIterator::len)
}

fn is_installed() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(NEWUIDMAP).is_file())
}

/// A folder that only this user can use, and that the next boot may remove. Its owner is checked when it is used.
fn locks() -> PathBuf {
    let uid = geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let is_ours = |folder: &PathBuf| -> io::Result<bool> { Ok(folder.metadata()?.uid() == uid) };
    match runtime.filter(|folder| folder.is_absolute() && is_ours(folder).unwrap_or_default()) {
        Some(folder) => folder.join("capsule-users"),
        None => std::env::temp_dir().join(format!("capsule-users-{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Range<u32>> {
        let lines: Vec<_> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
        largest(&lines, 1000, Some(b"me"))
    }

    #[test]
    fn b8_a_range_is_this_users_and_holds_neither_root_nor_what_is_no_number() {
        assert_eq!(found("me:100000:65536"), Some(100_000..165_536));
        assert_eq!(found("1000:100000:10\nme:200000:20"), Some(200_000..200_020));
        assert_eq!(found("me:100000:4294967295"), Some(100_000..165_536));
        assert_eq!(found("me:4294967290:100"), Some(4_294_967_290..u32::MAX));
        for none in [
            "you:100000:65536",
            "10000:1:2",
            "me:0:65536",
            "me:100000:0",
            "me:x:5",
            "",
        ] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
