//! The writer thread: takes what is queued, writes it in one transaction, commits, then answers everybody.
//!
//! Invariant: nobody is answered `Ok` before the commit's fsync. A failing group is rolled back whole and answered as a
//! failure; the thread goes on with the next group, so that it recovers when the disk does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clickledger_core::ports::{Clock, PortError};
use rusqlite::Connection;
use tokio::sync::watch;

use crate::failure::{of_commit, unwritten};
use crate::gate::CommitGate;
use crate::group::Group;
use crate::partials::Partials;
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
    /// The partials that are being written, as the log had them.
    pub(crate) partials: Partials,
    /// The last sequence number that was committed.
    pub(crate) published: watch::Sender<u64>,
    /// Set when the log has grown so long that it should begin anew.
    pub(crate) restart_log: Arc<AtomicBool>,
}

/// How long a group without jobs waits after a failure.
const PAUSE: Duration = Duration::from_secs(1);

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
        let Self {
            queue,
            gate,
            clock,
            open,
            next,
            partials,
            published,
            restart_log,
        } = self;
        let _abandon = Abandon(Arc::clone(&queue));
        let mut group = match Group::new(conn, clock, &open, next, partials) {
            Ok(group) => group,
            Err(error) => {
                tracing::error!(%error, "the database's statements can't be prepared");
                return;
            }
        };
        let (mut jobs, mut failed) = (Vec::new(), false);
        // A group without jobs works the log of partials off; after a failure not before a pause.
        while queue.take(
            &mut jobs,
            group
                .tick()
                .map(|tick| if failed { tick.max(PAUSE) } else { tick }),
        ) {
            let outcome = commit(&mut group, &mut jobs, &gate, &published);
            failed = outcome.is_err();
            if let Err(error) = &outcome {
                group.roll_back();
                tracing::warn!(%error, jobs = jobs.len(), "a group of writes was not committed");
            }
            for job in jobs.drain(..) {
                job.settle(outcome.as_ref().copied());
            }
            if restart_log.swap(false, Ordering::Relaxed) {
                crate::checkpoint::restart(conn);
            }
        }
        drop(group);
        crate::checkpoint::truncate(conn);
    }
}

fn commit(
    group: &mut Group<'_>,
    jobs: &mut [Box<dyn Job>],
    gate: &CommitGate,
    published: &watch::Sender<u64>,
) -> Result<(), PortError> {
    group.begin().map_err(unwritten)?;
    for job in jobs {
        job.run(group).map_err(unwritten)?;
    }
    let last = group.flush().map_err(unwritten)?;
    gate.pass()?;
    group.commit().map_err(of_commit)?;
    if let Some(last) = last {
        published.send_replace(last.cast_unsigned());
    }
    Ok(())
}
