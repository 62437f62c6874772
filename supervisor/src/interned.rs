//! Values that are shared by key. A value lives as long as it has a holder.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One shared value for each key, as long as the value is held.
pub struct Interned<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> fmt::Debug for Interned<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interned").finish_non_exhaustive()
    }
}

impl<K, V> Default for Interned<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V> Interned<K, V> {
    /// The values whose keys are `wanted`.
    pub fn all(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<V>> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter()
            .filter(|(key, _)| wanted(key))
            .filter_map(|(_, value)| value.upgrade())
            .collect()
    }

    /// The keys whose values are held.
    pub fn keys(&self) -> Vec<K> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter()
            .filter(|(_, value)| value.strong_count() > 0)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The value of `key`, made if no holder of one is left.
    pub fn get(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = map.get(key).and_then(Weak::upgrade) {
            return value;
        }
        // Keys whose value was dropped are swept when the map would grow for a new one, so the insertions that made it grow pay for
        // the sweep.
        if map.len() == map.capacity() {
            map.retain(|_, value| value.strong_count() > 0);
        }
        let value = Arc::new(make());
        map.insert(key.clone(), Arc::downgrade(&value));
        value
    }
}
