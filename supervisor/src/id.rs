//! Process ids: unforgeable names (contract I1, I2).

use std::fmt;
use std::sync::LazyLock;

use data_encoding::{BASE32_NOPAD, Encoding, Specification};

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

/// The random bytes of an id or a key.
pub(super) fn random_bytes() -> Result<[u8; 32], getrandom::Error> {
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
        assert!(!format!("{id:?}").contains(id.expose()));
    }
}
