//! The secret keys of one registry, and the keyed hash by which it looks up an id (contract I2).

use std::fmt;
use std::hash::{Hash, Hasher};

use super::id::{ProcessId, random_bytes};
use super::log::cursor::CursorKey;

/// The key under which the registry keeps an id. Useless to a reader, because the hash key is random and never leaves the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdHash([u8; blake3::OUT_LEN]);

impl Hash for IdHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// The secret of one registry.
pub(crate) struct RegistryKey {
    ids: [u8; blake3::KEY_LEN],
    cursors: [u8; blake3::KEY_LEN],
    names: [u8; blake3::KEY_LEN],
}

impl RegistryKey {
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self {
            ids: random_bytes()?,
            cursors: random_bytes()?,
            names: random_bytes()?,
        })
    }

    /// Does the same work for every string: a malformed id simply has no entry.
    pub(crate) fn hash(&self, id: &str) -> IdHash {
        IdHash(blake3::keyed_hash(&self.ids, id.as_bytes()).into())
    }

    /// The name of `id` in an audit. It differs from the registry's hash, and does not help to compute that.
    pub(crate) fn audit_name(&self, id: &str) -> String {
        let mut name = blake3::keyed_hash(&self.names, id.as_bytes()).to_hex().to_string();
        // 128 bits tell all ids apart that there will ever be.
        name.truncate(32);
        name
    }

    /// The key that seals the cursors of the process `id`.
    pub(crate) fn cursor_key(&self, id: &ProcessId) -> CursorKey {
        let mut key = [0; CursorKey::LENGTH];
        blake3::Hasher::new_keyed(&self.cursors)
            .update(id.expose().as_bytes())
            .finalize_xof()
            .fill(&mut key);
        CursorKey::new(key)
    }
}

impl fmt::Debug for RegistryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i2_debug_output_of_keys_and_hashes_does_not_hold_the_id() {
        let id = ProcessId::generate().unwrap();
        let key = RegistryKey::generate().unwrap();
        let shown = format!("{id:?} {:?} {key:?}", key.hash(id.expose()));
        assert!(!shown.contains(id.expose()));
    }

    #[test]
    fn i2_a_name_is_no_id_and_no_hash_of_the_registry() {
        let id = ProcessId::generate().unwrap();
        let key = RegistryKey::generate().unwrap();
        let name = key.audit_name(id.expose());
        assert_eq!(name, key.audit_name(id.expose()));
        assert_eq!(name.len(), 32);
        assert_ne!(name, RegistryKey::generate().unwrap().audit_name(id.expose()));
        let hash = blake3::Hash::from_bytes(key.hash(id.expose()).0);
        assert!(!hash.to_hex().starts_with(&name));
        assert_eq!(key.audit_name("").len(), 32, "whatever it is");
    }

    #[test]
    fn i2_each_registry_has_its_own_key() {
        let id = ProcessId::generate().unwrap();
        let hash = |key: RegistryKey| key.hash(id.expose());
        assert_ne!(
            hash(RegistryKey::generate().unwrap()),
            hash(RegistryKey::generate().unwrap())
        );
    }
}
