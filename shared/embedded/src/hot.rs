//! The committed partials in memory, shared by the writer thread and readers.
//!
//! Invariant: a partial in memory is its committed state; what isn't in memory is in `buckets`. A partial leaves only once
//! its row's state is committed, so whoever asks memory first and the table after it misses nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clickledger_core::domain::counter::Counters;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::time::Minute;

use crate::hour_row::PLACES;

/// A row's key, in the order of `buckets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowKey {
    pub(crate) kind: i64,
    pub(crate) id: i64,
    pub(crate) hour: i64,
    pub(crate) shard: i64,
}

/// A partial's key: in which row, and which minute of its hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) row: RowKey,
    pub(crate) place: u8,
}

impl Key {
    /// The key of this entity, minute and shard.
    pub(crate) fn new((kind, id): (i64, i64), minute: Minute, shard: i64) -> Self {
        let row = RowKey {
            kind,
            id,
            hour: minute.hour().0,
            shard,
        };
        Self {
            row,
            place: minute.0.rem_euclid(i64::from(PLACES)) as u8,
        }
    }

    pub(crate) fn minute(&self) -> Minute {
        Minute(self.row.hour * i64::from(PLACES) + i64::from(self.place))
    }
}

/// The kind of a pair.
pub(crate) const PAIR: i64 = 6;

/// An entity as rows name it. A pair of advertiser and placement has no partials: its rows are told apart by its placement too
/// (`seals::sealed_key`).
pub(crate) fn stored(entity: Entity) -> (i64, i64) {
    match entity {
        Entity::Ad(id) => (1, id.0.cast_signed()),
        Entity::Campaign(id) => (2, id.0.cast_signed()),
        Entity::Advertiser(id) => (3, id.0.cast_signed()),
        Entity::Placement(id) => (4, id.0.cast_signed()),
        Entity::Total => (5, 0),
        Entity::AdvertiserPlacement(advertiser, _) => (PAIR, advertiser.0.cast_signed()),
    }
}

/// A committed partial.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) watermark: i64,
    pub(crate) counters: Counters,
    /// Whether its row has an older state.
    pub(crate) changed: bool,
}

/// About what a partial takes: its place in the tree, and in the lists of what is to be put into its row and to leave.
const PARTIAL_BYTES: usize = 320;
/// What one counter takes that doesn't lie in the partial itself.
const COUNTER_BYTES: usize = 16;

fn bytes(counters: &Counters) -> usize {
    match counters.len() {
        0..=3 => 0,
        many => many.next_power_of_two() * COUNTER_BYTES,
    }
}

/// All partials in memory, and about how many bytes they take.
#[derive(Debug, Default)]
pub(crate) struct Map {
    partials: BTreeMap<Key, Partial>,
    bytes: usize,
}

impl Map {
    pub(crate) fn get(&self, key: &Key) -> Option<&Partial> {
        self.partials.get(key)
    }

    /// About how many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what a write brought; says whether the partial's row was up to date until now.
    pub(crate) fn add(&mut self, key: Key, watermark: i64, delta: &Counters) -> bool {
        use std::collections::btree_map::Entry;
        match self.partials.entry(key) {
            Entry::Occupied(entry) => {
                let partial = entry.into_mut();
                let before = bytes(&partial.counters);
                partial.counters.merge(delta);
                partial.watermark = watermark;
                self.bytes += bytes(&partial.counters) - before;
                !std::mem::replace(&mut partial.changed, true)
            }
            Entry::Vacant(entry) => {
                self.bytes += PARTIAL_BYTES + bytes(delta);
                entry.insert(Partial {
                    watermark,
                    counters: delta.clone(),
                    changed: true,
                });
                true
            }
        }
    }

    /// Takes in what its row has.
    pub(crate) fn load(&mut self, key: Key, watermark: i64, counters: Counters) {
        let taken = PARTIAL_BYTES + bytes(&counters);
        let partial = Partial {
            watermark,
            counters,
            changed: false,
        };
        if self.partials.insert(key, partial).is_none() {
            self.bytes += taken;
        }
    }

    /// The partial's row has its state.
    pub(crate) fn is_put(&mut self, key: &Key) {
        if let Some(partial) = self.partials.get_mut(key) {
            partial.changed = false;
        }
    }

    /// Lets the partial go if its row has its state.
    pub(crate) fn leave(&mut self, key: &Key) {
        use std::collections::btree_map::Entry;
        if let Entry::Occupied(entry) = self.partials.entry(*key)
            && !entry.get().changed
        {
            self.bytes -= PARTIAL_BYTES + bytes(&entry.remove().counters);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.partials.len()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Partial)> {
        self.partials.iter()
    }
}

/// The map behind its lock.
#[derive(Clone, Default)]
pub(crate) struct Hot(Arc<Mutex<Map>>);

/// Partials that a reader looks at before it lets the writer go on.
const STRETCH: usize = 500;

impl Hot {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the entity's partials in `from..to` that are in memory to `each`, in the order of rows. Nothing is copied, and
    /// the lock is held for a stretch at a time.
    pub(crate) fn each(
        &self,
        entity: Entity,
        from: Minute,
        to: Minute,
        mut each: impl FnMut(&Key, &Counters),
    ) {
        if from >= to {
            return;
        }
        let entity = stored(entity);
        let last = Minute(to.0 - 1);
        let end = Key {
            place: PLACES,
            ..Key::new(entity, last, i64::MAX)
        };
        let begin = Key {
            place: 0,
            ..Key::new(entity, from, i64::MIN)
        };
        let mut next = Bound::Included(begin);
        loop {
            let hot = self.lock();
            let (mut seen, mut reached) = (0, begin);
            for (key, partial) in hot.partials.range((next, Bound::Included(end))).take(STRETCH) {
                (seen, reached) = (seen + 1, *key);
                if (from..to).contains(&key.minute()) {
                    each(key, &partial.counters);
                }
            }
            if seen < STRETCH {
                return;
            }
            next = Bound::Excluded(reached);
        }
    }
}

#[cfg(test)]
mod tests {
    use clickledger_core::domain::counter::CounterKey;
    use clickledger_core::domain::ids::AdId;

    use super::*;

    fn counters(cells: u16) -> Counters {
        (0..cells)
            .filter_map(|n| Some((CounterKey::from_u16(n)?, 1)))
            .collect()
    }

    const ENTITY: Entity = Entity::Ad(AdId(7));

    fn key(minute: i64, shard: i64) -> Key {
        Key::new(stored(ENTITY), Minute(minute), shard)
    }

    #[test]
    fn reader_sees_the_entitys_partials_of_its_minutes_in_more_than_one_stretch() {
        let hot = Hot::default();
        for minute in -700..700 {
            for shard in 0..2 {
                hot.lock().add(key(minute, shard), 1, &counters(1));
                for other in [6, 8] {
                    let other = Key::new((1, other), Minute(minute), shard);
                    hot.lock().add(other, 1, &counters(1));
                }
            }
        }
        for (from, to) in [
            (-700, 700),
            (-61, 1),
            (0, 60),
            (59, 60),
            (5, 5),
            (6, 5),
            (699, 2_000),
        ] {
            let mut seen = Vec::new();
            hot.each(ENTITY, Minute(from), Minute(to), |key, counters| {
                assert_eq!(counters.len(), 1);
                seen.push((key.minute().0, key.row.shard));
            });
            seen.sort_unstable();
            let expected: Vec<_> = (from.max(-700)..to.min(700))
                .flat_map(|minute| [(minute, 0), (minute, 1)])
                .collect();
            assert_eq!(seen, expected, "{from}..{to}");
        }
    }

    #[test]
    fn memory_is_accounted_for_until_all_have_left() {
        let hot = Hot::default();
        let mut map = hot.lock();
        assert!(map.add(key(1, 0), 1, &counters(3)), "a new one's row is older");
        assert!(!map.add(key(1, 0), 2, &counters(40)), "and still is");
        map.load(key(2, 0), 5, counters(5));
        assert!(map.bytes() >= 2 * PARTIAL_BYTES + 45 * COUNTER_BYTES);
        map.leave(&key(1, 0));
        assert_eq!(
            map.get(&key(1, 0)).unwrap().watermark,
            2,
            "what is in no row stays"
        );
        map.is_put(&key(1, 0));
        for minute in 0..3 {
            map.leave(&key(minute, 0));
        }
        assert_eq!((map.len(), map.bytes()), (0, 0));
    }
}
