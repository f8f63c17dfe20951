//! What was read lately: opens again without another read, for a while.
//!
//! Invariant: what was forgotten here does not come back from a read that began before.

use std::collections::HashMap;

use super::CACHED_MS;
use crate::domain::api_key::KeyId;

/// Most entries; only what exists is kept, so nobody who guesses can fill it.
const MOST: usize = 10_000;

struct Read<T> {
    value: T,
    at_ms: i64,
}

/// Keys or sessions that were read lately, by id.
pub(super) struct Recent<T> {
    read: HashMap<KeyId, Read<T>>,
    /// How many were forgotten: what was read before the last time may be older than it.
    forgotten: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            read: HashMap::new(),
            forgotten: 0,
        }
    }
}

impl<T: Clone> Recent<T> {
    /// What was read of this id less than [`CACHED_MS`] ago; and what [`Recent::keep`] wants to be told.
    pub(super) fn get(&self, id: &KeyId, now_ms: i64) -> (Option<T>, u64) {
        let fresh = |read: &&Read<T>| (read.at_ms..read.at_ms + CACHED_MS).contains(&now_ms);
        let found = self.read.get(id).filter(fresh);
        (found.map(|read| read.value.clone()), self.forgotten)
    }

    /// What was read last of this id, however long ago.
    pub(super) fn last(&self, id: &KeyId) -> Option<&T> {
        self.read.get(id).map(|read| &read.value)
    }

    /// Keeps what was read at `at_ms`, after `forgotten` was told; says whether it did.
    pub(super) fn keep(&mut self, id: &KeyId, value: T, at_ms: i64, forgotten: u64) -> bool {
        if self.forgotten != forgotten {
            return false;
        }
        if self.read.len() >= MOST && !self.read.contains_key(id) {
            self.read.retain(|_, read| at_ms < read.at_ms + CACHED_MS);
            if self.read.len() >= MOST {
                self.read.clear();
            }
        }
        self.read.insert(id.clone(), Read { value, at_ms });
        true
    }

    /// There is nothing of this id.
    pub(super) fn remove(&mut self, id: &KeyId) {
        self.read.remove(id);
    }

    /// The same, from now on and for good.
    pub(super) fn forget(&mut self, id: &KeyId) {
        self.remove(id);
        self.forgotten += 1;
    }
}
