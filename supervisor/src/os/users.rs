//! Kernel users that belong to one tree each (contract B8).
//!
//! The kernel counts resources by user id (watches, descriptors in flight, pages of pipes, queued signals), and decides by user id
//! what processes may do to each other. So a root host lends each tree a user id that no process of the machine has. An ordinary
//! user's host lends each tree an id of its subordinate range, for which the kernel counts the tree's resources.
//!
//! The hosts of one machine coordinate with locks. The ids come in blocks. Each block has an empty file in [`FOLDER`], or in a
//! folder of the user's, and the host that holds its lock may lend the ids. The kernel releases the lock when the host ends, for
//! whatever reason. A tree may still be ending then, so an id is lent only if no process has it. Containers that share neither the
//! folder nor their processes cannot coordinate; blocks are taken in a random order, so that containers seldom need to.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Uid, geteuid, getpriority_user};

use super::epolls::EpollServer;

/// The folder of the locks. Only root can make entries in its parent.
const FOLDER: &str = "/run/capsule-users";

/// The number of users for each lock. It keeps the files few, and a host takes few users that it does not need.
const BLOCK: u32 = 64;

/// The kernel's id for users that a namespace does not have, and the user of services without a user of their own.
const OVERFLOW: u32 = 65534;

/// The numbers that this host may lend.
#[derive(Debug)]
pub(crate) struct Users {
    range: Range<u32>,
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The numbers that can be lent; the number that was given back last is at the end and is lent first. The kernel and this host
    /// still keep their data for that number.
    free: Vec<u32>,
    /// The blocks of this host. Locked for as long as these are open.
    blocks: Vec<(u32, File)>,
}

/// A user number that one tree has to itself. Dropping it gives the number back; the tree must have ended.
#[derive(Debug)]
pub(crate) struct Lease {
    number: u32,
    users: Arc<Users>,
    /// The process that counts for this number, if the tree has the number only for its watches. The process ends with
    /// its last lease.
    keeps: Option<Arc<EpollServer>>,
}

/// Why no number was lent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("each of the users {first} to {last} is in use", first = .0.start, last = .0.end.saturating_sub(1))]
    UsedUp(Range<u32>),
    #[error("the locks in {}: {source}", folder.display())]
    Locks { folder: PathBuf, source: io::Error },
}

impl Users {
    pub(crate) fn new(range: Range<u32>) -> Arc<Self> {
        Self::within(range, FOLDER)
    }

    /// The same, with another folder for the locks, which belongs to this user.
    pub(crate) fn within(range: Range<u32>, folder: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            range,
            folder: folder.into(),
            state: Mutex::default(),
        })
    }

    /// Lends a number that no process has.
    pub(crate) fn lease(self: &Arc<Self>) -> Result<Lease, LeaseError> {
        let mut state = self.lock();
        loop {
            // An init that is still leaving keeps its number. The number that came back last is taken first, because the
            // workspace's mapping for it exists already.
            if let Some(at) = state.free.iter().rposition(|&number| !is_used(number)) {
                let number = state.free.remove(at);
                return Ok(Lease {
                    number,
                    users: Arc::clone(self),
                    keeps: None,
                });
            }
            self.take_block(&mut state)?;
        }
    }

    fn take_block(&self, state: &mut State) -> Result<(), LeaseError> {
        let Range { start, end } = self.range;
        let blocks = start / BLOCK..end.div_ceil(BLOCK);
        let count = blocks.end.saturating_sub(blocks.start);
        let random = getrandom::u32().unwrap_or_default();
        for step in 0..count {
            let offset = random.wrapping_add(step).checked_rem(count).unwrap_or_default();
            let block = blocks.start.saturating_add(offset);
            if state.blocks.iter().any(|(taken, _)| *taken == block) {
                continue;
            }
            if let Some(file) = lock(&self.folder, block).map_err(|source| LeaseError::Locks {
                folder: self.folder.clone(),
                source,
            })? {
                state.blocks.push((block, file));
                let first = block.saturating_mul(BLOCK);
                let numbers = first.max(start)..first.saturating_add(BLOCK).min(end);
                // The lowest is lent first.
                let lendable = numbers.rev().filter(|number| *number != OVERFLOW);
                state.free.splice(0..0, lendable);
                return Ok(());
            }
        }
        Err(LeaseError::UsedUp(self.range.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Keeps `counter` for as long as the tree may need it.
    pub(crate) fn keeping(self, epolls: Arc<EpollServer>) -> Self {
        let mut lease = self;
        lease.keeps = Some(epolls);
        lease
    }

    /// The user's number.
    pub(crate) const fn uid(&self) -> u32 {
        self.number
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.users.lock().free.push(self.number);
    }
}

/// Whether a visible process has this number. The kernel looks up the user first, and its processes only if that user
/// exists.
fn is_used(number: u32) -> bool {
    getpriority_user(Uid::from_raw(number)) != Err(Errno::SRCH)
}

/// The file whose lock this host now holds; none if another host holds it.
fn lock(folder: &Path, block: u32) -> io::Result<Option<File>> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // The folder may lie in one where every user can make entries.
    let found = folder.symlink_metadata()?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to another user, or others may write there",
        ));
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(block.to_string()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u32 = 2_130_706_432;

    #[test]
    fn b8_a_user_is_lent_to_one_and_given_back_once() {
        let folder = tempfile::tempdir().unwrap();
        let users = Users::within(FIRST..FIRST + 3, folder.path());
        let leases: Vec<_> = (0..3).map(|_| users.lease().unwrap()).collect();
        let mut numbers: Vec<_> = leases.iter().map(Lease::uid).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [FIRST, FIRST + 1, FIRST + 2]);
        let refused = users.lease().unwrap_err();
        assert!(matches!(&refused, LeaseError::UsedUp(range) if *range == (FIRST..FIRST + 3)));
        assert!(refused.to_string().contains("is in use"), "{refused}");
        drop(leases);
        assert_eq!(users.lock().free.len(), 3);
        let last = users.lease().unwrap();
        let number = last.uid();
        drop(last);
        assert_eq!(users.lease().unwrap().uid(), number, "the last one first");
    }

    #[test]
    fn b8_two_hosts_lend_different_users() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = [(), ()].map(|()| Users::within(FIRST..FIRST + 2 * BLOCK, folder.path()));
        let leases = |users: &Arc<Users>| -> Vec<_> { (0..BLOCK).map(|_| users.lease().unwrap()).collect() };
        let (held, others) = (leases(&one), leases(&other));
        assert!(
            held.iter()
                .all(|lease| others.iter().all(|other| lease.uid() != other.uid()))
        );
        assert!(one.lease().is_err());
        drop((others, other));
        assert!(one.lease().is_ok(), "the lock of a host that is gone is free");
    }

    #[test]
    fn b8_the_overflow_user_is_never_lent() {
        let folder = tempfile::tempdir().unwrap();
        let users = Users::within(OVERFLOW - 2..OVERFLOW + 2, folder.path());
        let leases: Vec<_> = std::iter::from_fn(|| users.lease().ok()).collect();
        let mut numbers: Vec<_> = leases.iter().map(Lease::uid).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [OVERFLOW - 2, OVERFLOW - 1, OVERFLOW + 1]);
    }

    #[test]
    fn b8_locks_in_a_folder_of_others_are_none() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let refused = Users::within(FIRST..FIRST + 1, folder.path()).lease().unwrap_err();
        assert!(matches!(refused, LeaseError::Locks { .. }), "{refused}");
    }

    #[test]
    fn b8_a_user_of_a_running_process_is_not_lent() {
        let folder = tempfile::tempdir().unwrap();
        let own = rustix::process::getuid().as_raw();
        assert!(Users::within(own..own + 1, folder.path()).lease().is_err());
    }
}
