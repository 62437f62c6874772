//! Process ids: unforgeable names, and the keyed hash under which the registry knows them (contract I1, I2).

use std::fmt;
use std::hash::{Hash, Hasher};

use data_encoding::{BASE32_NOPAD, Encoding, Specification};
use std::sync::LazyLock;

use super::log::cursor::CursorKey;

/// RFC 4648 base32 in lower case, without padding.
static BASE32_LOWER: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification: Specification = BASE32_NOPAD.specification();
    specification.symbols.make_ascii_lowercase();
    specification.encoding().unwrap_or(BASE32_NOPAD)
});

/// The id of a persistent process: 256 random bits. A caller that holds it, and is its owner, reaches the process.
///
/// `Debug` redacts it, and there is no `Display`: an id belongs in no log. [`ProcessId::expose`] gives the text.
#[derive(Clone, PartialEq, Eq)]
pub struct ProcessId(String);

impl ProcessId {
    /// A new id from the operating system's random generator.
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self(BASE32_LOWER.encode(&random_bytes()?)))
    }

    /// The id as the guest sees it: 52 characters of lower-case base32.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessId(…)")
    }
}

/// What the registry knows an id by. Useless to a reader, because the key is random and never leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdHash([u8; blake3::OUT_LEN]);

/// What spreads over a table what is spread already and cannot be chosen: hashes, or numbers in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsItIs(u64);

impl Hash for IdHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl Hasher for AsItIs {
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

    /// The same work for every string: what is malformed is found out by not being there.
    pub(crate) fn hash(&self, id: &str) -> IdHash {
        IdHash(blake3::keyed_hash(&self.ids, id.as_bytes()).into())
    }

    /// What `id` is called in an audit. Not the hash that the registry goes by, nor of use to compute that.
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
            .update(id.0.as_bytes())
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

fn random_bytes() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i1_an_id_is_52_characters_of_lower_case_base32() {
        let ids: Vec<_> = (0..100).map(|_| ProcessId::generate().unwrap()).collect();
        for id in &ids {
            assert_eq!(id.expose().len(), 52);
            assert!(
                id.expose().bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')),
                "{}",
                id.expose()
            );
            let upper = id.expose().to_uppercase();
            assert_eq!(BASE32_NOPAD.decode(upper.as_bytes()).unwrap().len(), 32);
        }
        let mut distinct: Vec<_> = ids.iter().map(ProcessId::expose).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ids.len());
    }

    #[test]
    fn i2_debug_output_does_not_hold_the_id() {
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
