//! The writer thread: takes what is queued, writes it in one transaction, commits, then answers everybody.
//!
//! Invariant: nobody is answered `Ok` before the commit's fsync. A failing group is rolled back whole and answered as a
//! failure; the thread goes on with the next group, so that it recovers when the disk does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clickledger_core::ports::{Clock, PortError};
use rusqlite::Connection;
use tokio::sync::watch;

use crate::failure::{of_commit, unwritten};
use crate::gate::CommitGate;
use crate::group::Group;
use crate::queue::{Job, Queue};

/// What the writer thread needs.
pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) gate: CommitGate,
    pub(crate) clock: Arc<dyn Clock>,
    /// The open shards' numbers, by hash-key range.
    pub(crate) open: Vec<i64>,
    /// The next sequence number.
    pub(crate) next: i64,
    /// The last sequence number that was committed.
    pub(crate) published: watch::Sender<u64>,
    /// Set when the log has grown so long that it should begin anew.
    pub(crate) restart_log: Arc<AtomicBool>,
}

/// Refuses whoever still waits when the thread ends, however it ends.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Writer {
    /// Works until the queue is closed.
    pub(crate) fn run(self, conn: &Connection) {
        let _abandon = Abandon(Arc::clone(&self.queue));
        let mut group = match Group::new(conn, Arc::clone(&self.clock), &self.open, self.next) {
            Ok(group) => group,
            Err(error) => {
                tracing::error!(%error, "the database's statements can't be prepared");
                return;
            }
        };
        let mut jobs = Vec::new();
        while self.queue.take(&mut jobs) {
            let outcome = self.commit(&mut group, &mut jobs);
            if let Err(error) = &outcome {
                group.roll_back();
                tracing::warn!(%error, jobs = jobs.len(), "a group of writes was not committed");
            }
            for job in jobs.drain(..) {
                job.settle(outcome.as_ref().copied());
            }
            if self.restart_log.swap(false, Ordering::Relaxed) {
                crate::checkpoint::restart(conn);
            }
        }
        drop(group);
        crate::checkpoint::truncate(conn);
    }

    fn commit(&self, group: &mut Group<'_>, jobs: &mut [Box<dyn Job>]) -> Result<(), PortError> {
        group.begin().map_err(unwritten)?;
        for job in jobs {
            job.run(group).map_err(unwritten)?;
        }
        let last = group.flush().map_err(unwritten)?;
        self.gate.pass()?;
        group.commit().map_err(of_commit)?;
        if let Some(last) = last {
            self.published.send_replace(last.cast_unsigned());
        }
        Ok(())
    }
}
