//! Checkpoints: copying the write-ahead log into the database without holding up commits.
//!
//! A thread of its own copies what it can while commits go on (PASSIVE). That alone never ends while the load lasts, so
//! once the log is long and nearly all of it is copied, the writer itself copies the small rest and begins the log anew
//! (RESTART): a pause of milliseconds.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use crate::schema;

/// How often the log is looked at.
const PAUSE: Duration = Duration::from_millis(500);
/// Pages in the log from which it is copied.
const COPY_FROM_PAGES: i64 = 1_000;
/// Pages in the log from which it should begin anew: 64 MiB.
const RESTART_FROM_PAGES: i64 = (64 << 20) / schema::PAGE_BYTES as i64;

/// The thread's switch.
#[derive(Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn set(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits for a pause's length; says whether the thread should end.
    fn wait(&self) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(stopped, PAUSE, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Works until stopped.
pub(crate) fn run(database: &Path, stop: &Stop, restart_log: &AtomicBool) {
    let mut conn: Option<Connection> = None;
    // A log that is not longer than when it was last copied whole needs no look.
    let log = PathBuf::from(format!("{}-wal", database.display()));
    while !stop.wait() {
        let bytes = std::fs::metadata(&log).map_or(0, |file| file.len());
        if bytes < COPY_FROM_PAGES.unsigned_abs() * u64::from(schema::PAGE_BYTES) {
            continue;
        }
        if conn.is_none() {
            conn = schema::connect(database, &schema::CHECKPOINTER)
                .inspect_err(|error| tracing::warn!(%error, "no connection for checkpoints"))
                .ok();
        }
        let Some(open) = &conn else { continue };
        match checkpoint(open, "PASSIVE") {
            Ok(pages) if pages.in_log >= RESTART_FROM_PAGES => restart_log.store(true, Ordering::Relaxed),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; it is tried again");
                conn = None;
            }
        }
    }
}

/// Begins the log anew if readers allow it now; else the checkpointer asks again.
pub(crate) fn restart(conn: &Connection) {
    if let Err(error) = checkpoint(conn, "RESTART") {
        tracing::warn!(%error, "the log could not be restarted; it is tried again");
    }
}

/// Empties the log, for a store that is closed.
pub(crate) fn truncate(conn: &Connection) {
    if let Err(error) = checkpoint(conn, "TRUNCATE") {
        tracing::warn!(%error, "the log could not be emptied; it is read again on opening");
    }
}

struct Pages {
    in_log: i64,
}

fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Pages> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(Pages { in_log: row.get(1)? })
    })
}

/// The switch and the flag that thread and writer share.
#[derive(Default, Clone)]
pub(crate) struct Signals {
    pub(crate) stop: Arc<Stop>,
    pub(crate) restart_log: Arc<AtomicBool>,
}
