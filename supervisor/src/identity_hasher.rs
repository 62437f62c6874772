//! A hasher for keys that are hashes or unique numbers already: it returns the key unchanged.

use std::hash::Hasher;

/// Takes the first eight bytes of a key as its hash: for keys that are spread already and that no guest can choose, such as
/// keyed hashes, or numbers in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() >= size_of::<u64>(), "neither a hash nor a number");
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
