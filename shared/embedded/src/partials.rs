//! Partials that are being written: in memory, and on the disk as a log.
//!
//! A busy minute's partials are written many times a second, each of them in another page of `buckets`, which is sorted by
//! entity for its readers. So a group logs all its writes in one row, and memory holds what they add up to. Every so often
//! the partials that changed are put into `buckets`, a few with each group, and then the log up to there is dropped.
//!
//! Invariant: `buckets`, and over it the log's writes with a higher watermark than the row's, are the state; memory holds
//! that state, committed, for every partial that the log names. A watermark only rises, so a write is never added twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clickledger_core::domain::bucket::{Committed, Condition, PartialWrite};
use clickledger_core::domain::counter::Counters;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::time::{MINUTE_MS, Minute};
use clickledger_core::ports::PortError;
use rusqlite::{Connection, OptionalExtension};

use crate::counts;
use crate::failure::Failure;
use crate::partial_log::{self, Writes};
use crate::shards::{self, ShardNumber};

/// A partial's key, in the order of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) kind: i64,
    pub(crate) id: i64,
    pub(crate) minute: i64,
    pub(crate) shard: i64,
}

/// An entity as rows name it.
pub(crate) fn stored(entity: Entity) -> (i64, i64) {
    match entity {
        Entity::Ad(id) => (1, id.0.cast_signed()),
        Entity::Campaign(id) => (2, id.0.cast_signed()),
        Entity::Advertiser(id) => (3, id.0.cast_signed()),
        Entity::Placement(id) => (4, id.0.cast_signed()),
        Entity::Total => (5, 0),
    }
}

/// A committed partial.
#[derive(Debug, Clone, Default)]
struct Partial {
    /// `None`: there is no such partial (which is worth remembering too).
    watermark: Option<i64>,
    counters: Counters,
    /// Whether `buckets` has an older state.
    changed: bool,
}

/// The committed partials in memory, shared with readers.
#[derive(Clone, Default)]
pub(crate) struct Hot(Arc<Mutex<BTreeMap<Key, Partial>>>);

impl Hot {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Partial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entity's partials in `from..to` that are in memory: minute, shard, counters; in order. To be asked before
    /// `buckets` is: what leaves memory is in the table by then. Where both have a partial, this is the state.
    pub(crate) fn range(&self, entity: Entity, from: Minute, to: Minute) -> Vec<(i64, i64, Counters)> {
        let (kind, id) = stored(entity);
        if from >= to {
            return Vec::new();
        }
        let at = |minute: Minute| Key {
            kind,
            id,
            minute: minute.0,
            shard: i64::MIN,
        };
        let hot = self.lock();
        hot.range(at(from)..at(to))
            .map(|(key, p)| (key.minute, key.shard, p.counters.clone()))
            .collect()
    }
}

/// When and how fast the log is worked off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Milliseconds from one working-off to the next.
    pub(crate) every_ms: i64,
    /// Partials in memory from which it begins at once.
    pub(crate) most: usize,
    /// Partials put into `buckets` with one group.
    pub(crate) step: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every_ms: 20_000,
            most: 120_000,
            step: 250,
        }
    }
}

/// Clean partials of minutes older than this leave memory.
const KEEP_MS: i64 = 2 * MINUTE_MS;
/// Rows of the log dropped with one group.
const DROP_ROWS: i64 = 64;

/// The writer thread's side.
pub(crate) struct Partials {
    hot: Hot,
    pace: Pace,
    /// This group's writes, not committed yet.
    group: Vec<(Key, i64, Counters)>,
    /// The watermarks that this group has moved.
    moved: HashMap<Key, i64, foldhash::fast::RandomState>,
    log: Vec<u8>,
    /// The last row of the log.
    logged: i64,
    /// Partials still to be put into `buckets`, the next one last.
    due: Vec<Key>,
    /// How many of them this group has put there.
    put: usize,
    /// The log may be dropped up to this row once nothing is due; 0 when it is.
    droppable: i64,
    /// Whether this group found nothing more to drop.
    dropped: bool,
    last_work_ms: i64,
    buffers: [Vec<u8>; 2],
}

impl Partials {
    /// Reads the log into memory.
    pub(crate) fn load(conn: &Connection, hot: Hot, pace: Pace) -> Result<Self, Failure> {
        let mut partials = Self {
            hot,
            pace,
            group: Vec::new(),
            moved: HashMap::default(),
            log: Vec::new(),
            logged: 0,
            due: Vec::new(),
            put: 0,
            droppable: 0,
            dropped: false,
            last_work_ms: 0,
            buffers: [Vec::new(), Vec::new()],
        };
        let mut select = conn.prepare("SELECT id, writes FROM partial_log ORDER BY id")?;
        let mut rows = select.query([])?;
        let mut hot = partials.hot.lock();
        while let Some(row) = rows.next()? {
            partials.logged = row.get(0)?;
            for write in Writes(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) {
                let (key, last, delta) = write?;
                let partial = known(&mut hot, conn, key)?;
                if partial.watermark < Some(last) {
                    add(partial, last, &delta);
                }
            }
        }
        drop(hot);
        Ok(partials)
    }

    /// Tries one write.
    pub(crate) fn write(&mut self, conn: &Connection, write: PartialWrite) -> Result<Committed, Failure> {
        let (shard, last) = (ShardNumber::of(&write.shard)?, shards::stored(write.last)?);
        let (kind, id) = stored(write.key.entity);
        let key = Key {
            kind,
            id,
            minute: write.key.minute.0,
            shard: shard.0,
        };
        let watermark = match self.moved.get(&key) {
            Some(moved) => Some(*moved),
            None => known(&mut self.hot.lock(), conn, key)?.watermark,
        };
        let applies = match write.condition {
            Condition::Below(first) => watermark.is_none_or(|stored| shards::sequence(stored) < first),
            Condition::Exactly(expected) => {
                watermark.is_some_and(|stored| shards::sequence(stored) == expected)
            }
        };
        if !applies {
            return Ok(Committed::Stale(watermark.map(shards::sequence)));
        }
        if watermark >= Some(last) {
            return Err(PortError::rejected("a delta that ends at or below its partial's watermark").into());
        }
        partial_log::push(&mut self.log, &key, last, &write.delta);
        self.moved.insert(key, last);
        self.group.push((key, last, write.delta));
        Ok(Committed::Applied)
    }

    /// Logs the group's writes, and works some of the log off.
    pub(crate) fn flush(&mut self, conn: &Connection) -> Result<(), rusqlite::Error> {
        if !self.log.is_empty() {
            // Never a number that was used before: SQLite would begin anew after a rollback or an emptied log, and so
            // below `droppable`.
            self.logged += 1;
            let mut insert = conn.prepare_cached("INSERT INTO partial_log(id, writes) VALUES (?1, ?2)")?;
            insert.execute((self.logged, &self.log))?;
        }
        if self.droppable == 0 {
            return Ok(());
        }
        if self.due.is_empty() {
            let dropped = conn
                .prepare_cached(
                    "DELETE FROM partial_log WHERE id IN (SELECT id FROM partial_log WHERE id <= ?1 ORDER BY id LIMIT ?2)",
                )?
                .execute([self.droppable, DROP_ROWS])?;
            self.dropped = dropped == 0;
            return Ok(());
        }
        let mut replace = conn.prepare_cached(
            "INSERT OR REPLACE INTO buckets(kind, id, minute, shard, watermark, totals, cells)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        // Faster where much has gathered, so that it ends within some hundred groups.
        let step = self.pace.step.max(self.due.len() / 100);
        let [totals, cells] = &mut self.buffers;
        let hot = self.hot.lock();
        for key in self.due.iter().rev().take(step) {
            self.put += 1;
            // The committed state alone: what this group adds is in the log, behind what may be dropped.
            let Some(partial) = hot.get(key) else { continue };
            counts::encode(&partial.counters, totals, cells);
            replace.execute((
                key.kind,
                key.id,
                key.minute,
                key.shard,
                partial.watermark,
                &*totals,
                &*cells,
            ))?;
        }
        Ok(())
    }

    /// The group is committed: readers may see it.
    pub(crate) fn committed(&mut self, now_ms: i64) {
        let mut hot = self.hot.lock();
        for key in self.due.drain(self.due.len() - self.put..) {
            if let Some(partial) = hot.get_mut(&key) {
                partial.changed = false;
            }
        }
        for (key, last, delta) in self.group.drain(..) {
            add(hot.entry(key).or_default(), last, &delta);
        }
        if self.dropped {
            self.droppable = 0;
        }
        let begin = now_ms - self.last_work_ms >= self.pace.every_ms || hot.len() >= self.pace.most;
        if self.droppable == 0 && begin && self.logged > 0 {
            let oldest = Minute::of(now_ms - KEEP_MS).0;
            let crowded = hot.len() >= self.pace.most;
            hot.retain(|key, partial| partial.changed || (key.minute >= oldest && !crowded));
            self.due.extend(
                hot.iter()
                    .rev()
                    .filter(|(_, partial)| partial.changed)
                    .map(|(key, _)| *key),
            );
            self.droppable = self.logged;
            self.last_work_ms = now_ms;
        }
        drop(hot);
        self.clear();
    }

    /// The group is rolled back: nothing of it was.
    pub(crate) fn rolled_back(&mut self) {
        self.group.clear();
        self.clear();
    }

    fn clear(&mut self) {
        self.moved.clear();
        self.log.clear();
        self.log.shrink_to(crate::group::KEPT_BYTES);
        self.put = 0;
        self.dropped = false;
    }
}

/// The partial in memory; from `buckets` if it isn't there yet.
fn known<'h>(
    hot: &'h mut BTreeMap<Key, Partial>,
    conn: &Connection,
    key: Key,
) -> Result<&'h mut Partial, Failure> {
    use std::collections::btree_map::Entry;
    match hot.entry(key) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let mut select = conn.prepare_cached(
                "SELECT watermark, totals, cells FROM buckets WHERE kind = ?1 AND id = ?2 AND minute = ?3 AND shard = ?4",
            )?;
            let mut counters = Counters::default();
            let watermark = select
                .query_row((key.kind, key.id, key.minute, key.shard), |row| {
                    let (totals, cells) = (row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?);
                    Ok(counts::add(totals, cells, &mut counters).map(|()| row.get(0)))
                })
                .optional()?
                .transpose()?
                .transpose()?;
            Ok(entry.insert(Partial {
                watermark,
                counters,
                changed: false,
            }))
        }
    }
}

fn add(partial: &mut Partial, last: i64, delta: &Counters) {
    partial.counters.merge(delta);
    partial.watermark = Some(last);
    partial.changed = true;
}

#[cfg(test)]
mod tests;
