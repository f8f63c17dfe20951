//! Which partials are put into their rows when, and which leave memory.
//!
//! Every so often all that changed is *due*: a sweep. It goes on with each group and, where no group comes, with ticks of
//! the writer thread; once all of it is put, the log up to the sweep's beginning is dropped. It is spread over time so that
//! no group pays for much of it. Where memory or the log grows too long it begins at once and goes as fast as one group
//! may.
//!
//! Invariant: a partial whose row is older than memory is in `changed` or in `due`. What a group has put counts only once
//! it is committed.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::hot::{Key, Map};

/// When and how fast the log is worked off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Milliseconds from one sweep's beginning to the next's.
    pub(crate) every_ms: i64,
    /// Milliseconds that a sweep is spread over.
    pub(crate) spread_ms: i64,
    /// Least and most partials that one group puts.
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// Milliseconds that one group may spend on it.
    pub(crate) budget_ms: i64,
    /// A partial that didn't change for so long since it was put leaves memory.
    pub(crate) rest_ms: i64,
    /// Bytes in memory from which a sweep doesn't wait.
    pub(crate) crowded_bytes: usize,
    /// Bytes in memory from which writes of partials wait.
    pub(crate) full_bytes: usize,
    /// Bytes of the log from which a sweep doesn't wait.
    pub(crate) log_bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every_ms: 30_000,
            spread_ms: 20_000,
            least: 50,
            most: 1_000,
            budget_ms: 5,
            rest_ms: 45_000,
            crowded_bytes: 40 << 20,
            full_bytes: 56 << 20,
            log_bytes: 48 << 20,
        }
    }
}

/// Ticks while a sweep goes on, and while it is in a hurry.
const TICK: Duration = Duration::from_millis(50);
const HURRIED_TICK: Duration = Duration::from_millis(1);
/// Partials that leave memory after one group, at most.
const LEAVING: usize = 4_000;
/// Rows of the log dropped with one group.
const DROP_ROWS: i64 = 32;

/// The state of the log and of the sweep over it.
pub(crate) struct Sweep {
    pub(crate) pace: Pace,
    /// Partials that changed since the sweep began.
    changed: BTreeSet<Key>,
    /// Partials that the sweep still has to put.
    due: BTreeSet<Key>,
    /// How many there were.
    total: usize,
    /// How many of `due` this group has put: the first ones.
    put: usize,
    /// What has been put lately, and when.
    resting: VecDeque<(i64, Key)>,
    begun_ms: i64,
    /// The log's last row; its last row that was dropped; up to which it may be dropped once nothing is due.
    logged: i64,
    dropped: i64,
    droppable: i64,
    /// What this group has dropped and logged.
    dropping: Option<i64>,
    logging: usize,
    /// About how much was logged since the sweep began.
    log_bytes: usize,
    crowded: bool,
}

impl Sweep {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            changed: BTreeSet::new(),
            due: BTreeSet::new(),
            total: 0,
            put: 0,
            resting: VecDeque::new(),
            begun_ms: 0,
            logged: 0,
            dropped: 0,
            droppable: 0,
            dropping: None,
            logging: 0,
            log_bytes: 0,
            crowded: false,
        }
    }

    /// A row that the log has already.
    pub(crate) fn found(&mut self, row: i64) {
        if self.logged == 0 {
            self.dropped = row - 1;
            self.droppable = self.dropped;
        }
        self.logged = row;
    }

    /// The number for this group's row. Never one that was used before: SQLite would begin anew after a rollback or an
    /// emptied log, and so below what may be dropped.
    pub(crate) fn log(&mut self, bytes: usize) -> i64 {
        self.logged += 1;
        self.logging = bytes;
        self.logged
    }

    /// The partial's row was up to date until now.
    pub(crate) fn changed(&mut self, key: Key) {
        self.changed.insert(key);
    }

    /// The partial was read from its row.
    pub(crate) fn loaded(&mut self, key: Key, now_ms: i64) {
        self.resting.push_back((now_ms, key));
    }

    /// Whether the log holds something that rows have.
    fn sweeping(&self) -> bool {
        self.droppable > self.dropped
    }

    /// The next partials to put, in the order of rows, and how many this group should put.
    pub(crate) fn next(&self, now_ms: i64) -> (impl Iterator<Item = Key> + '_, usize) {
        let gone = (now_ms - self.begun_ms).clamp(0, self.pace.spread_ms);
        // As many as there should be by now, if the sweep is to end in time.
        let should = self.total as i64 * gone / self.pace.spread_ms.max(1);
        let behind = (should as usize).saturating_sub(self.total - self.due.len());
        let share = if self.hurried() {
            self.pace.most
        } else {
            behind.clamp(self.pace.least, self.pace.most)
        };
        (self.due.iter().copied(), share)
    }

    /// This group has put so many of them.
    pub(crate) fn has_put(&mut self, count: usize) {
        self.put = count;
    }

    /// Up to which row the log may be dropped with this group.
    pub(crate) fn drop_log(&mut self) -> Option<i64> {
        if !self.due.is_empty() || !self.sweeping() {
            return None;
        }
        self.dropping = Some(self.droppable.min(self.dropped + DROP_ROWS));
        self.dropping
    }

    /// The group is committed, and its writes are not in memory yet.
    pub(crate) fn committed(&mut self, map: &mut Map, now_ms: i64) {
        for _ in 0..std::mem::take(&mut self.put) {
            if let Some(key) = self.due.pop_first() {
                map.is_put(&key);
                self.resting.push_back((now_ms, key));
            }
        }
        if let Some(dropped) = self.dropping.take() {
            self.dropped = dropped;
        }
        self.log_bytes += std::mem::take(&mut self.logging);
    }

    /// The group is committed, and its writes are in memory: lets go what has rested, and begins the next sweep if it is time.
    pub(crate) fn after(&mut self, map: &mut Map, now_ms: i64) {
        self.crowded = map.bytes() >= self.pace.crowded_bytes;
        for _ in 0..LEAVING {
            let Some((since_ms, key)) = self.resting.front() else {
                break;
            };
            if now_ms.abs_diff(*since_ms) < self.pace.rest_ms.unsigned_abs() && !self.crowded {
                break;
            }
            map.leave(key);
            self.resting.pop_front();
        }
        if !self.sweeping() && self.logged > self.dropped && self.is_time(now_ms) {
            self.due = std::mem::take(&mut self.changed);
            self.total = self.due.len();
            self.droppable = self.logged;
            self.begun_ms = now_ms;
            self.log_bytes = 0;
        }
    }

    fn hurried(&self) -> bool {
        self.crowded || self.log_bytes >= self.pace.log_bytes
    }

    fn is_time(&self, now_ms: i64) -> bool {
        // Also where the clock was set back.
        self.hurried() || now_ms.abs_diff(self.begun_ms) >= self.pace.every_ms.unsigned_abs()
    }

    /// The group is rolled back: it has put and dropped nothing. Its row's number stays used.
    pub(crate) fn rolled_back(&mut self) {
        self.put = 0;
        self.dropping = None;
        self.logging = 0;
    }

    /// How long the writer may wait for jobs before it goes on with this; `None`: for as long as none comes.
    pub(crate) fn tick(&self, now_ms: i64) -> Option<Duration> {
        if self.sweeping() {
            Some(if self.hurried() { HURRIED_TICK } else { TICK })
        } else if self.logged > self.dropped {
            let left = self.pace.every_ms - now_ms.saturating_sub(self.begun_ms);
            let left = Duration::from_millis(left.clamp(0, self.pace.every_ms).unsigned_abs());
            Some(left.max(TICK))
        } else if self.crowded && !self.resting.is_empty() {
            // Nothing is left to put, but more has to leave.
            Some(HURRIED_TICK)
        } else {
            None
        }
    }
}
