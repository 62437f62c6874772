//! The entries of one owner in memory, and what a change may make of them.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::error::Error;
use super::limits::{KEY_MAX, Limits, VALUE_MAX};

/// The most keys of one answer.
const PAGE_MAX: usize = 1024;

/// What became of a [`Store::compare_and_set`](super::Store::compare_and_set).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The value was as expected, and is the new one now.
    Swapped,
    /// The value is another one, and was not changed: the present value, none if there is no entry.
    Mismatch(Option<Vec<u8>>),
}

/// A part of an owner's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The keys, in the order of their bytes.
    pub keys: Vec<String>,
    /// Whether there are more after the last of them.
    pub more: bool,
}

/// The entries of one owner.
#[derive(Debug, Default)]
pub(super) struct Entries(pub(super) BTreeMap<String, Vec<u8>>);

/// Fails unless this can be a key.
pub(super) fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::InvalidInput("the key is empty"));
    }
    check_part(key)
}

/// Fails unless this can be a prefix of a key.
pub(super) fn check_part(key: &str) -> Result<(), Error> {
    if key.len() > KEY_MAX {
        return Err(Error::InvalidInput("a key of more than 256 bytes"));
    }
    if key.contains('\0') {
        return Err(Error::InvalidInput("a key with a NUL"));
    }
    Ok(())
}

/// Fails if the value is too long.
pub(super) const fn check_value(value: &[u8]) -> Result<(), Error> {
    if value.len() > VALUE_MAX {
        return Err(Error::TooLarge);
    }
    Ok(())
}

impl Entries {
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// Sets or removes the entry.
    pub(super) fn put(&mut self, key: &str, value: Option<Vec<u8>>, limits: &Limits) -> Result<(), Error> {
        let Some(value) = value else {
            self.0.remove(key);
            return Ok(());
        };
        let before = self.get(key).map_or(0, |value| key.len() + value.len());
        let entries = self.0.len() + usize::from(before == 0);
        let bytes = self.bytes() - before + key.len() + value.len();
        // An owner with more than it may have now can still make it less.
        let grows = before == 0 || key.len() + value.len() > before;
        if grows && (entries > limits.entries || bytes > limits.bytes) {
            return Err(Error::Quota);
        }
        self.0.insert(key.to_owned(), value);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    pub(super) fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        // A key before the prefix has none of its keys before it.
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let rest = self.0.range::<str, _>((from, Bound::Unbounded));
        let mut keys = rest.map(|(key, _)| key).take_while(|key| key.starts_with(prefix));
        let page = keys.by_ref().take(limit.min(PAGE_MAX)).cloned().collect();
        Page {
            keys: page,
            more: keys.next().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keys: &[&str]) -> Entries {
        Entries(keys.iter().map(|key| ((*key).to_owned(), Vec::new())).collect())
    }

    #[test]
    fn v4_keys_and_values_have_a_largest_size() {
        for bad in ["", "a\0", &"k".repeat(257)] {
            assert!(matches!(check_key(bad), Err(Error::InvalidInput(_))), "{bad:?}");
        }
        check_key(&"k".repeat(256)).unwrap();
        check_part("").unwrap();
        check_value(&[0; VALUE_MAX]).unwrap();
        assert!(matches!(check_value(&[0; VALUE_MAX + 1]), Err(Error::TooLarge)));
    }

    #[test]
    fn v4_an_owner_has_so_many_entries_and_bytes_and_can_always_have_less() {
        let limits = Limits { entries: 2, bytes: 10 };
        let mut entries = Entries::default();
        entries.put("a", Some(vec![0; 4]), &limits).unwrap();
        entries.put("b", Some(vec![0; 4]), &limits).unwrap();
        for (key, bytes) in [("c", 0), ("a", 5)] {
            let refused = entries.put(key, Some(vec![0; bytes]), &limits);
            assert!(matches!(refused, Err(Error::Quota)), "{key}");
        }
        assert_eq!(entries.get("a"), Some(&[0; 4][..]));
        let lower = Limits { entries: 0, bytes: 0 };
        entries.put("a", Some(vec![1; 3]), &lower).unwrap();
        entries.put("a", None, &lower).unwrap();
        assert_eq!((entries.get("a"), entries.bytes()), (None, 5));
    }

    #[test]
    fn v1_keys_are_listed_by_prefix_in_pages() {
        let entries = of(&["a", "b", "b/1", "b/2", "b/3", "c"]);
        let page = |prefix, after, limit| {
            let page = entries.page(prefix, after, limit);
            (page.keys.join(" "), page.more)
        };
        assert_eq!(page("", None, 100), ("a b b/1 b/2 b/3 c".into(), false));
        assert_eq!(page("b/", None, 2), ("b/1 b/2".into(), true));
        assert_eq!(page("b/", Some("b/2"), 2), ("b/3".into(), false));
        assert_eq!(page("b/", Some("a"), 1), ("b/1".into(), true));
        assert_eq!(page("b/", Some("x"), 1), (String::new(), false));
        assert_eq!(page("b", None, 0), (String::new(), true));
    }
}
