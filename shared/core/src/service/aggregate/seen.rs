//! The click ids that a shard has absorbed, in memory.
//!
//! Invariant: an id is forgotten only when every id of its slice arrived before the window. Knowing more than the window
//! is harmless: an id in the log was absorbed, so a later copy is a repeat however old the first is.

use std::collections::{BTreeMap, HashSet};

use foldhash::fast::FixedState;

use crate::domain::ids::ClickId;

/// Copies of a click share its id and thus the time in it: a slice of ids by that time is found without asking the others,
/// and goes at once when it has left the window.
const SLICE_MS: i64 = 16_384;

#[derive(Default)]
struct Slice {
    last_arrival_ms: i64,
    ids: HashSet<ClickId, FixedState>,
}

/// A set of click ids that forgets by slices.
#[derive(Default)]
pub(super) struct SeenIds {
    slices: BTreeMap<i64, Slice>,
}

impl SeenIds {
    /// Adds ids that arrived at or before `arrival_ms`.
    pub(super) fn extend(&mut self, ids: &[ClickId], arrival_ms: i64) {
        for id in ids {
            let slice = self.slices.entry(id.unix_ms().div_euclid(SLICE_MS)).or_default();
            slice.last_arrival_ms = slice.last_arrival_ms.max(arrival_ms);
            slice.ids.insert(*id);
        }
    }

    pub(super) fn contains(&self, id: ClickId) -> bool {
        self.slices
            .get(&id.unix_ms().div_euclid(SLICE_MS))
            .is_some_and(|slice| slice.ids.contains(&id))
    }

    /// Forgets the slices whose last arrival is before `since_ms`.
    pub(super) fn forget_before(&mut self, since_ms: i64) {
        self.slices.retain(|_, slice| slice.last_arrival_ms >= since_ms);
    }
}
