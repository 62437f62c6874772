//! How much an owner may keep.

/// The longest key, in bytes.
pub const KEY_MAX: usize = 256;
/// The longest value, in bytes.
pub const VALUE_MAX: usize = 64 << 10;

/// The most that an owner may have, whatever an embedder asks for: each change writes all of it.
const ENTRIES_CEILING: usize = 64 << 10;
const BYTES_CEILING: usize = 16 << 20;

/// How much each owner may keep in a [`Store`](super::Store). An owner that has more, because the limits were higher once, can
/// still read and delete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The number of entries; 1,024 by default, and 65,536 at most.
    pub entries: usize,
    /// The bytes of all keys and values together; 1 MiB by default, and 16 MiB at most. Each change writes all of them to the disk.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1024,
            bytes: 1 << 20,
        }
    }
}

impl Limits {
    /// The limits, with those that are too high lowered.
    pub(super) fn clamped(self) -> Self {
        Self {
            entries: self.entries.min(ENTRIES_CEILING),
            bytes: self.bytes.min(BYTES_CEILING),
        }
    }
}
