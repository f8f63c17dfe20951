//! A commit group: what the jobs of one transaction write through.
//!
//! Invariant: records of the stream get their sequence numbers in the order in which their jobs ran, and become rows just
//! before the commit; nothing that a job leaves in memory outlives a rollback.

use std::sync::Arc;
use std::time::Duration;

use clickledger_core::ports::Clock;
use rusqlite::{Connection, Statement};

use crate::partials::Partials;
use crate::segment;

type Hook = Box<dyn FnOnce() + Send>;

/// The open transaction, and what lives as long as the writer's connection.
pub(crate) struct Group<'c> {
    /// The writer's connection.
    pub(crate) conn: &'c Connection,
    /// When the group began, Unix milliseconds: its records' time of arrival.
    pub(crate) now_ms: i64,
    /// Takes an impression, or leaves it.
    pub(crate) claim: Statement<'c>,
    /// Whose an impression is.
    pub(crate) owner: Statement<'c>,
    /// The partials that are being written.
    pub(crate) partials: Partials,
    clock: Arc<dyn Clock>,
    insert: Statement<'c>,
    begin: Statement<'c>,
    commit: Statement<'c>,
    open: Vec<Lane>,
    next: i64,
    hooks: Vec<Hook>,
}

/// One open shard's records of this group.
struct Lane {
    shard: i64,
    records: i64,
    bytes: Vec<u8>,
}

/// A buffer that a burst has blown up beyond this is let go again.
pub(crate) const KEPT_BYTES: usize = 1 << 20;

impl<'c> Group<'c> {
    /// Prepares for the open shards (numbers, in the order of their hash-key ranges); `next` is the first sequence number.
    pub(crate) fn new(
        conn: &'c Connection,
        clock: Arc<dyn Clock>,
        open: &[i64],
        next: i64,
        partials: Partials,
    ) -> rusqlite::Result<Self> {
        let open = open
            .iter()
            .map(|shard| Lane {
                shard: *shard,
                records: 0,
                bytes: Vec::new(),
            })
            .collect();
        Ok(Self {
            conn,
            now_ms: 0,
            claim: conn.prepare(
                "INSERT INTO claims(impression_id, click_id, expires_ms) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET click_id = excluded.click_id, expires_ms = excluded.expires_ms
                 WHERE claims.expires_ms <= ?4",
            )?,
            owner: conn.prepare("SELECT click_id FROM claims WHERE impression_id = ?1")?,
            partials,
            clock,
            insert: conn.prepare(
                "INSERT INTO stream(last, shard, first, arrived_ms, records) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            open,
            next,
            hooks: Vec::new(),
        })
    }

    /// Begins the transaction.
    pub(crate) fn begin(&mut self) -> rusqlite::Result<()> {
        self.now_ms = self.clock.now_ms();
        self.begin.execute([]).map(drop)
    }

    /// Puts a record on the open shard of this place.
    pub(crate) fn publish(&mut self, place: usize, record: &[u8]) {
        if let Some(lane) = self.open.get_mut(place) {
            segment::push(&mut lane.bytes, record);
            lane.records += 1;
        }
    }

    /// Does this once the group is committed, before anybody is answered.
    pub(crate) fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    /// Writes the group's records and partials; says the last sequence number, if there was any record.
    pub(crate) fn flush(&mut self) -> rusqlite::Result<Option<i64>> {
        let mut wrote = None;
        for lane in &mut self.open {
            if lane.records == 0 {
                continue;
            }
            let (first, last) = (self.next, self.next + lane.records - 1);
            self.insert
                .execute((last, lane.shard, first, self.now_ms, &lane.bytes))?;
            self.next = last + 1;
            wrote = Some(last);
            lane.clear();
        }
        self.partials.flush(self.conn, &*self.clock)?;
        Ok(wrote)
    }

    /// How long the writer may wait for jobs before it runs a group without any; `None`: for as long as none comes.
    pub(crate) fn tick(&self) -> Option<Duration> {
        self.partials.tick(self.clock.now_ms())
    }

    /// Commits.
    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        self.commit.execute([])?;
        self.partials.committed(self.now_ms);
        self.hooks.drain(..).for_each(|hook| hook());
        Ok(())
    }

    /// Rolls back what is open, and forgets what the jobs left in memory. The sequence numbers stay used.
    pub(crate) fn roll_back(&mut self) {
        self.open.iter_mut().for_each(Lane::clear);
        self.hooks.clear();
        self.partials.rolled_back();
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a rollback failed; SQLite does it again before the next transaction");
        }
    }
}

impl Lane {
    fn clear(&mut self) {
        self.records = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}
