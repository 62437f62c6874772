//! The functions that the fuzz targets call: those that take a guest's numbers and strings and start no process.
//!
//! They exist only with the feature `fuzzing`, which only `fuzz/` turns on, and are no part of this crate's interface.

use std::path::Path;

use crate::log::cursor::{CursorKey, Position};
use crate::log::ring::Ring;
use crate::network::dns::{self, Transport};
use crate::network::names::Names;
use crate::sandbox::EgressRules;
use crate::{Error, Limits, LogStream, Overflow, SpawnRequest, Tier};

/// The cursors of one process.
#[derive(Debug)]
pub struct Cursors(CursorKey);

impl Cursors {
    /// Sealed with this key.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self(CursorKey::new(key))
    }

    /// The token of a place in a stream.
    #[must_use]
    pub fn seal(&self, stream: LogStream, offset: u64, dropped: u64) -> String {
        self.0.seal(stream, Position { offset, dropped })
    }

    /// Offset and loss count of a token, if it is one.
    #[must_use]
    pub fn open(&self, stream: LogStream, token: &str) -> Option<(u64, u64)> {
        let position = self.0.open(stream, token)?;
        Some((position.offset, position.dropped))
    }
}

/// One stream's buffer.
#[derive(Debug)]
pub struct Buffer(Ring);

impl Buffer {
    /// Empty. `capacity` is above 0, as the limits see to.
    #[must_use]
    pub fn new(capacity: usize, overflow: Overflow) -> Self {
        Self(Ring::new(capacity, overflow))
    }

    /// Stores as many bytes as fit, as the reader does: it makes room first, and then reads straight into the room. Returns how
    /// many bytes that was.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let room = self.0.make_room(bytes.len());
        let (first, second) = self.0.spare(room);
        let (front, rest) = bytes.split_at(first.len().min(bytes.len()));
        first.copy_from_slice(front);
        let taken = second.len().min(rest.len());
        second.copy_from_slice(rest.get(..taken).unwrap_or_default());
        self.0.commit(room);
        room
    }

    /// A reader presented a cursor at `offset`.
    pub fn acknowledge(&mut self, offset: u64) {
        self.0.acknowledge(offset);
    }

    /// All but the last `keep` bytes, taken out.
    pub fn drain(&mut self, keep: usize) -> Vec<u8> {
        self.0.drain(keep).into_bytes()
    }

    /// At most `max` bytes from `offset` on, which is retained.
    #[must_use]
    pub fn copy(&self, offset: u64, max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.copy(offset, max, &mut bytes);
        bytes
    }

    /// Offsets of the oldest byte and of the next one, and how many bytes were evicted.
    #[must_use]
    pub fn state(&self) -> (u64, u64, u64) {
        (self.0.start(), self.0.end(), self.0.evicted())
    }
}

/// Whether the shape of a request is accepted, for a workspace that exists.
///
/// # Errors
/// The error that a guest would get.
pub fn check(request: &SpawnRequest, persistent: bool, workspace: &Path) -> Result<(), Error> {
    let tier = if persistent { Tier::Persistent } else { Tier::Captured };
    request.check(tier, workspace, &Limits::default())
}

/// The DNS server of a private network.
#[derive(Debug)]
pub struct Dns {
    rules: EgressRules,
    names: Names,
}

impl Dns {
    /// Knows what these rules allow, and at most so many names of their wildcards.
    ///
    /// # Panics
    /// Never: a set of rules has fewer names than there are addresses.
    #[must_use]
    pub fn new(rules: EgressRules, wildcards: usize) -> Self {
        let mut names = Names::new(wildcards);
        assert_eq!(names.add_exact(&rules), Ok(()), "few rules");
        Self { rules, names }
    }

    /// The answer to a query that came in a datagram, or else by a stream.
    pub fn answer(&mut self, query: &[u8], is_datagram: bool) -> Option<Vec<u8>> {
        let transport = if is_datagram { Transport::Udp } else { Transport::Tcp };
        dns::answer(query, transport, &mut |asked| {
            asked.decide(&self.rules, &mut self.names)
        })
    }
}
