//! Partials that are being written: in memory, and on the disk as a log.
//!
//! A busy minute's partials are written many times a second, each of them in another page of `buckets`, which is sorted by
//! entity for its readers. So a group logs all its writes in one row, and memory holds what they add up to. Module `sweep`
//! says when partials are put into their rows of `buckets`, a few with each group, and when the log is dropped.
//!
//! Invariant: `buckets`, and over it the log's writes with a higher watermark than the stored partial's, are the state;
//! memory holds that state, committed, for every partial whose row is older. A watermark only rises, so a write is never
//! added twice.

use std::collections::HashMap;

use clickledger_core::domain::bucket::{Committed, Condition, PartialWrite};
use clickledger_core::domain::counter::Counters;
use clickledger_core::ports::{Clock, PortError};
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::hot::{self, Hot, Key, RowKey};
use crate::hour_row::{self, NewRow};
use crate::partial_log::{self, Writes};
use crate::shards::{self, ShardNumber};
use crate::sweep::{Pace, Sweep};

/// The writer thread's side.
pub(crate) struct Partials {
    hot: Hot,
    sweep: Sweep,
    /// Whether writes should wait until memory has room.
    full: watch::Sender<bool>,
    /// This group's writes, not committed yet.
    group: Vec<(Key, i64, Counters)>,
    /// The watermarks that this group has moved.
    moved: HashMap<Key, i64, foldhash::fast::RandomState>,
    log: Vec<u8>,
    row: NewRow,
    /// A row can't be read: the log stays, so that nothing is lost, and clicks go on.
    damaged: bool,
}

impl Partials {
    /// Reads the log into memory.
    pub(crate) fn load(conn: &Connection, hot: Hot, pace: Pace) -> Result<Self, Failure> {
        let mut partials = Self {
            hot,
            sweep: Sweep::new(pace),
            full: watch::Sender::new(false),
            group: Vec::new(),
            moved: HashMap::default(),
            log: Vec::new(),
            row: NewRow::default(),
            damaged: false,
        };
        let mut select = conn.prepare("SELECT id, writes FROM partial_log ORDER BY id")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            partials.sweep.found(row.get(0)?);
            for write in Writes(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) {
                let (key, last, delta) = write?;
                if partials.watermark(conn, key, 0)? < Some(last)
                    && partials.hot.lock().add(key, last, &delta)
                {
                    partials.sweep.changed(key);
                }
            }
        }
        Ok(partials)
    }

    /// Whether memory is full, as it changes.
    pub(crate) fn full(&self) -> watch::Receiver<bool> {
        self.full.subscribe()
    }

    /// The committed watermark; `None`: there is no such partial. One that only its row had is in memory afterwards.
    fn watermark(&mut self, conn: &Connection, key: Key, now_ms: i64) -> Result<Option<i64>, Failure> {
        if let Some(partial) = self.hot.lock().get(&key) {
            return Ok(Some(partial.watermark));
        }
        let found = with_row(conn, &key.row, |totals, cells| {
            for stored in hour_row::Partials::of(totals, cells) {
                let stored = stored?;
                if stored.place == key.place {
                    let mut counters = Counters::default();
                    stored.add(&mut counters)?;
                    return Ok(Some((stored.watermark, counters)));
                }
            }
            Ok(None)
        })?;
        let Some((watermark, counters)) = found.flatten() else {
            return Ok(None);
        };
        self.hot.lock().load(key, watermark, counters);
        self.sweep.loaded(key, now_ms);
        Ok(Some(watermark))
    }

    /// Tries one write.
    pub(crate) fn write(
        &mut self,
        conn: &Connection,
        write: PartialWrite,
        now_ms: i64,
    ) -> Result<Committed, Failure> {
        if !write.key.entity.is_counted_live() {
            return Err(PortError::rejected("a partial of what is not counted live").into());
        }
        let (shard, last) = (ShardNumber::of(&write.shard)?, shards::stored(write.last)?);
        let key = Key::new(hot::stored(write.key.entity), write.key.minute, shard.0);
        let watermark = match self.moved.get(&key) {
            Some(moved) => Some(*moved),
            None => self.watermark(conn, key, now_ms)?,
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
    pub(crate) fn flush(&mut self, conn: &Connection, clock: &dyn Clock) -> Result<(), rusqlite::Error> {
        if !self.log.is_empty() {
            let row = self.sweep.log(self.log.len());
            conn.prepare_cached("INSERT INTO partial_log(id, writes) VALUES (?1, ?2)")?
                .execute((row, &self.log))?;
        }
        if let Some(up_to) = self.sweep.drop_log() {
            conn.prepare_cached("DELETE FROM partial_log WHERE id <= ?1")?
                .execute([up_to])?;
            return Ok(());
        }
        if self.damaged {
            return Ok(());
        }
        let begun_ms = clock.now_ms();
        let (due, share) = self.sweep.next(begun_ms);
        let mut due = due.peekable();
        let mut put = 0;
        // The keys of one row.
        let mut keys: Vec<Key> = Vec::new();
        while put < share
            && let Some(first) = due.peek().copied()
        {
            keys.clear();
            while let Some(key) = due.next_if(|key| key.row == first.row) {
                keys.push(key);
            }
            match put_row(conn, &self.hot, &mut self.row, &keys) {
                Ok(()) => put += keys.len(),
                Err(Failure::Broken(error)) => return Err(error),
                Err(Failure::Refused(error)) => {
                    tracing::error!(%error, row = ?first.row, "partials are not put into their table any more");
                    self.damaged = true;
                    break;
                }
            }
            if clock.now_ms() - begun_ms >= self.sweep.pace.budget_ms {
                break;
            }
        }
        drop(due);
        self.sweep.has_put(put);
        Ok(())
    }

    /// The group is committed: readers may see it.
    pub(crate) fn committed(&mut self, now_ms: i64) {
        let mut hot = self.hot.lock();
        self.sweep.committed(&mut hot, now_ms);
        for (key, last, delta) in self.group.drain(..) {
            if hot.add(key, last, &delta) {
                self.sweep.changed(key);
            }
        }
        self.sweep.after(&mut hot, now_ms);
        let full = hot.bytes() >= self.sweep.pace.full_bytes;
        drop(hot);
        self.full
            .send_if_modified(|was| std::mem::replace(was, full) != full);
        self.clear();
    }

    /// The group is rolled back: nothing of it was.
    pub(crate) fn rolled_back(&mut self) {
        self.sweep.rolled_back();
        self.group.clear();
        self.clear();
    }

    /// See [`Sweep::tick`].
    pub(crate) fn tick(&self, now_ms: i64) -> Option<std::time::Duration> {
        self.sweep.tick(now_ms).filter(|_| !self.damaged)
    }

    fn clear(&mut self) {
        self.moved.clear();
        self.log.clear();
        self.log.shrink_to(crate::group::KEPT_BYTES);
    }
}

/// Looks at a row, if there is one.
fn with_row<T>(
    conn: &Connection,
    key: &RowKey,
    look: impl FnOnce(&[u8], &[u8]) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let found = conn
        .prepare_cached(
            "SELECT totals, cells FROM buckets WHERE kind = ?1 AND id = ?2 AND hour = ?3 AND shard = ?4",
        )?
        .query_row((key.kind, key.id, key.hour, key.shard), |row| {
            Ok(look(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?))
        })
        .optional()?;
    found.transpose()
}

/// Puts partials, whose keys are in order, into their row: their committed state alone, since what this group adds is in
/// the log, behind what may be dropped.
fn put_row(conn: &Connection, hot: &Hot, row: &mut NewRow, keys: &[Key]) -> Result<(), Failure> {
    let Some(Key { row: key, .. }) = keys.first() else {
        return Ok(());
    };
    let push = |row: &mut NewRow, key: &Key| {
        if let Some(partial) = hot.lock().get(key) {
            row.push(key.place, partial.watermark, &partial.counters);
        }
    };
    row.clear();
    let mut new = keys.iter().peekable();
    with_row(conn, key, |totals, cells| {
        for stored in hour_row::Partials::of(totals, cells) {
            let stored = stored?;
            while let Some(key) = new.next_if(|key| key.place < stored.place) {
                push(row, key);
            }
            match new.next_if(|key| key.place == stored.place) {
                Some(key) => push(row, key),
                None => row.keep(&stored),
            }
        }
        Ok(())
    })?;
    for key in new {
        push(row, key);
    }
    conn.prepare_cached(
        "INSERT INTO buckets(kind, id, hour, shard, totals, cells) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET totals = excluded.totals, cells = excluded.cells",
    )?
    .execute((key.kind, key.id, key.hour, key.shard, &row.totals, &row.cells))?;
    Ok(())
}

#[cfg(test)]
mod tests;
