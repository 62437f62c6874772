//! The positions up to which one reader has read by cursor. With them a wait for output ignores bytes that this reader has
//! (contract A3).

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::identity_hasher::IdentityHasher;
use super::table::Table;
use super::types::LogStream;

/// For the number of each process, the offset in each stream up to which the reader has the bytes, because they were
/// returned or because it acknowledged them.
#[derive(Debug, Default)]
pub(crate) struct ReadPositions(Mutex<Offsets>);

/// The supervisor numbers processes in order, so a number is its own hash and the entries lie next to each other.
type Offsets = HashMap<u64, [u64; 2], BuildHasherDefault<IdentityHasher>>;

impl ReadPositions {
    pub(crate) fn note(&self, table: &Table, number: u64, stream: LogStream, offset: u64) {
        let mut offsets = self.lock();
        if offsets.len() == offsets.capacity() && !offsets.contains_key(&number) {
            // The positions of removed processes are swept when the map would grow.
            let there: HashSet<_> = table.all().iter().map(|entry| entry.number).collect();
            offsets.retain(|number, _| there.contains(number));
        }
        let [stdout, stderr] = offsets.entry(number).or_default();
        let known = match stream {
            LogStream::Stdout => stdout,
            LogStream::Stderr => stderr,
        };
        *known = offset.max(*known);
    }

    /// The offsets of stdout and stderr.
    pub(crate) fn of(&self, number: u64) -> [u64; 2] {
        self.lock().get(&number).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Offsets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
