//! What was read of a table, in memory for a while.
//!
//! Invariant: a change that this process makes is seen by its next read: a read that began before the change keeps nothing.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;

/// What was found under a key, or that nothing was.
pub(super) struct Found<V> {
    pub(super) value: Option<Arc<V>>,
    pub(super) read_ms: i64,
}

impl<V> Clone for Found<V> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            read_ms: self.read_ms,
        }
    }
}

/// A cache with the time of each read.
pub(super) struct Cached<K, V> {
    cache: Cache<K, Found<V>>,
    /// How many changes there were: a read that saw another number may have seen an older state.
    changes: Mutex<u64>,
}

impl<K: Hash + Eq + Clone, V> Cached<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            cache: Cache::new(capacity),
            changes: Mutex::new(0),
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<Found<V>> {
        self.cache.get(key)
    }

    /// To be asked before a read, for [`Cached::keep`].
    pub(super) fn changes(&self) -> u64 {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is stored under this key, or may be.
    pub(super) fn changed(&self, key: &K) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        self.cache.remove(key);
    }

    /// Keeps what was read, unless there was a change since.
    pub(super) fn keep(&self, key: K, value: Option<Arc<V>>, read_ms: i64, changes: u64) {
        let now = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == changes {
            self.cache.insert(key, Found { value, read_ms });
        }
    }
}
