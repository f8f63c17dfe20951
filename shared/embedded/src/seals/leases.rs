//! Leases: one row for each job that was ever held, so that its fence never falls.

use async_trait::async_trait;
use clickledger_core::ports::{Job, Lease, Leases, PortResult};
use rusqlite::{Connection, OptionalExtension};

use super::{Seals, unsigned};
use crate::failure::Failure;
use crate::group::Group;

/// A job's key.
fn key(job: Job) -> String {
    match job {
        Job::Hour(hour) => format!("hour {}", hour.0),
        Job::Day(day) => format!("day {}", day.0),
        Job::Daily => "daily".to_owned(),
    }
}

fn take(
    conn: &Connection,
    job: Job,
    holder: String,
    now_ms: i64,
    until_ms: i64,
) -> Result<Option<Lease>, Failure> {
    let (fence, note) = conn
        .prepare_cached(
            "INSERT INTO leases(job, holder, fence, until_ms) VALUES (?1, ?2, 1, ?3)
             ON CONFLICT DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms,
                 fence = fence + (leases.holder IS NOT excluded.holder)
             WHERE leases.holder IS NULL OR leases.holder = excluded.holder OR leases.until_ms <= ?4
             RETURNING fence, note",
        )?
        .query_row((key(job), &holder, until_ms, now_ms), |row| {
            Ok((Some(unsigned(row, 0)?), row.get(1)?))
        })
        .optional()?
        .unwrap_or((None, None));
    Ok(fence.map(|fence| Lease {
        job,
        holder,
        fence,
        note,
    }))
}

#[async_trait]
impl Leases for Seals {
    async fn take(&self, job: Job, holder: &str, now_ms: i64, until_ms: i64) -> PortResult<Option<Lease>> {
        let holder = holder.to_owned();
        let take = move |group: &mut Group<'_>| take(group.conn, job, holder, now_ms, until_ms);
        self.store.queue.submit(take).await
    }

    async fn keep(&self, lease: &Lease, until_ms: i64, note: Option<&str>) -> PortResult<bool> {
        let (lease, note) = (lease.clone(), note.map(str::to_owned));
        let keep = move |group: &mut Group<'_>| {
            let kept = group
                .conn
                .prepare_cached(
                    "UPDATE leases SET until_ms = ?4, note = coalesce(?5, note)
                     WHERE job = ?1 AND holder = ?2 AND fence = ?3",
                )?
                .execute((
                    key(lease.job),
                    &lease.holder,
                    lease.fence.cast_signed(),
                    until_ms,
                    &note,
                ))?;
            Ok(kept == 1)
        };
        self.store.queue.submit(keep).await
    }

    async fn release(&self, lease: &Lease, note: Option<&str>) -> PortResult<()> {
        let (lease, note) = (lease.clone(), note.map(str::to_owned));
        let release = move |group: &mut Group<'_>| {
            group
                .conn
                .prepare_cached(
                    "UPDATE leases SET holder = NULL, note = ?4 WHERE job = ?1 AND holder = ?2 AND fence = ?3",
                )?
                .execute((key(lease.job), &lease.holder, lease.fence.cast_signed(), &note))?;
            Ok(())
        };
        self.store.queue.submit(release).await
    }

    async fn note(&self, job: Job) -> PortResult<Option<String>> {
        let query = move |conn: &Connection| {
            let note: Option<Option<String>> = conn
                .prepare_cached("SELECT note FROM leases WHERE job = ?1")?
                .query_row([key(job)], |row| row.get(0))
                .optional()?;
            Ok(note.flatten())
        };
        self.store.readers.read(query).await
    }
}
