//! `capsule:store/keyvalue`.

use crate::mock::world;
use std::{collections::BTreeMap, ops::Bound};

pub(crate) use crate::wit::generated::capsule::store::keyvalue::*;

type Answer<T> = Result<T, ErrorCode>;

/// The most keys of one answer.
const PAGE_MAX: usize = 1024;

fn entries<T>(use_them: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Answer<T> {
    world::with(|world| {
        if world.unloading {
            return Err(ErrorCode::Cancelled);
        }
        if world.principal.is_none() {
            return Err(ErrorCode::NotAuthenticated);
        }
        Ok(use_them(&mut world.store))
    })
}

pub(crate) fn get(key: &str) -> Answer<Option<Vec<u8>>> {
    entries(|entries| entries.get(key).cloned())
}

pub(crate) fn set(key: &str, value: &[u8]) -> Answer<()> {
    entries(|entries| {
        entries.insert(key.to_owned(), value.to_vec());
    })
}

pub(crate) fn delete(key: &str) -> Answer<bool> {
    entries(|entries| entries.remove(key).is_some())
}

pub(crate) fn compare_and_set(key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> Answer<Swap> {
    entries(|entries| {
        let present = entries.get(key);
        if present.map(Vec::as_slice) != expected {
            return Swap::Mismatch(present.cloned());
        }
        match new {
            Some(value) => entries.insert(key.to_owned(), value.to_vec()),
            None => entries.remove(key),
        };
        Swap::Swapped
    })
}

pub(crate) fn list(prefix: &str, after: Option<&str>, limit: u32) -> Answer<Page> {
    entries(|entries| {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let rest = entries.range::<str, _>((from, Bound::Unbounded));
        let mut keys = rest.map(|(key, _)| key).take_while(|key| key.starts_with(prefix));
        let limit = PAGE_MAX.min(limit as usize);
        let page = keys.by_ref().take(limit).cloned().collect();
        Page {
            keys: page,
            more: keys.next().is_some(),
        }
    })
}
