//! The click ids that a shard has absorbed, in memory.
//!
//! Invariant: an id is forgotten only when every id of its slice arrived before the window. Knowing more than the window
//! is harmless: an id in the log was absorbed, so a later copy is a repeat however old the first is.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use crate::domain::ids::ClickId;

/// Copies of a click share its id and thus the time in it: a slice of ids by that time is found without asking the others,
/// and goes at once when it has left the window.
const SLICE_MS: i64 = 16_384;

struct Slice {
    /// Its ids' time divided by [`SLICE_MS`].
    time: i64,
    last_arrival_ms: i64,
    ids: HashSet<ClickId, FixedState>,
}

/// A set of click ids that forgets by slices.
#[derive(Default)]
pub(super) struct SeenIds {
    /// Sorted by time. Clicks come nearly in the order of their times, so the wanted slice is nearly always the last.
    slices: Vec<Slice>,
}

fn time_of(id: ClickId) -> i64 {
    id.unix_ms().div_euclid(SLICE_MS)
}

impl SeenIds {
    /// The place of this time's slice, or where it would be.
    fn place(&self, time: i64) -> Result<usize, usize> {
        for (place, slice) in self.slices.iter().enumerate().rev() {
            if slice.time == time {
                return Ok(place);
            }
            if slice.time < time {
                return Err(place + 1);
            }
        }
        Err(0)
    }

    /// Adds an id that arrived at or before `arrival_ms`; says whether it is new.
    pub(super) fn insert(&mut self, id: ClickId, arrival_ms: i64) -> bool {
        let time = time_of(id);
        let place = self.place(time).unwrap_or_else(|place| {
            let slice = Slice {
                time,
                last_arrival_ms: i64::MIN,
                ids: HashSet::default(),
            };
            self.slices.insert(place, slice);
            place
        });
        let slice = &mut self.slices[place];
        slice.last_arrival_ms = slice.last_arrival_ms.max(arrival_ms);
        slice.ids.insert(id)
    }

    /// Takes back an id that was added.
    pub(super) fn remove(&mut self, id: ClickId) {
        if let Ok(place) = self.place(time_of(id)) {
            self.slices[place].ids.remove(&id);
        }
    }

    /// Forgets the slices whose last arrival is before `since_ms`.
    pub(super) fn forget_before(&mut self, since_ms: i64) {
        self.slices.retain(|slice| slice.last_arrival_ms >= since_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: i64, n: u8) -> ClickId {
        ClickId::new(ms, [n; 10])
    }

    #[test]
    fn an_id_is_new_once_whatever_the_order_of_times() {
        let mut seen = SeenIds::default();
        let times = [500_000, 0, 1_000_000, 500_001, 16_384, 16_383];
        for ms in times {
            assert!(seen.insert(id(ms, 1), 0), "{ms}");
        }
        for ms in times {
            assert!(!seen.insert(id(ms, 1), 0), "{ms}");
            assert!(seen.insert(id(ms, 2), 0), "{ms}");
        }
        seen.remove(id(16_384, 1));
        assert!(seen.insert(id(16_384, 1), 0));
    }

    #[test]
    fn a_slice_stays_as_long_as_one_of_its_ids_is_in_the_window() {
        let mut seen = SeenIds::default();
        seen.insert(id(1000, 1), 10);
        seen.insert(id(1001, 2), 20);
        seen.forget_before(20);
        assert!(!seen.insert(id(1000, 1), 20));
        seen.forget_before(21);
        assert!(seen.insert(id(1000, 1), 20));
    }
}
