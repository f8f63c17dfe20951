//! Corrections (counts packed, before and after) and reports (as JSON).

use async_trait::async_trait;
use clickledger_core::domain::correction::{Cause, Correction, HourReport};
use clickledger_core::domain::counter::Counters;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::packed;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::{PortResult, SealReports};
use rusqlite::{Connection, Row};

use super::{Seals, blob, entity_of, limited, of_json, to_json, unsigned};
use crate::failure::Failure;
use crate::group::Group;
use crate::hot::stored;

/// Corrections that one commit group writes, at most: clicks wait for their group.
const ROWS: usize = 500;

/// Both counts: each its totals and its cells, the totals after their length.
fn pack(before: &Counters, after: &Counters) -> Vec<u8> {
    let mut out = Vec::new();
    for counters in [before, after] {
        let (mut totals, mut cells) = (Vec::new(), Vec::new());
        packed::push(counters, &mut totals, &mut cells);
        packed::put(&mut out, totals.len() as u64);
        out.extend(totals);
        out.extend(cells);
    }
    out
}

fn unpack(bytes: &mut &[u8]) -> Result<Counters, Failure> {
    let length = usize::try_from(packed::take(bytes)?).unwrap_or(usize::MAX);
    let (mut totals, mut cells) = bytes.split_at_checked(length).ok_or(packed::NotPacked)?;
    let counters = packed::take_counters(&mut totals, &mut cells)?;
    *bytes = cells;
    Ok(counters)
}

fn correction(row: &Row<'_>) -> Result<Correction, Failure> {
    let mut counts = blob(row, 4)?;
    let cause: Cause = of_json(row, 5)?;
    Ok(Correction {
        version: unsigned(row, 0)?,
        entity: entity_of(row, [1, 2], None)?,
        minute: Minute(row.get(3)?),
        before: unpack(&mut counts)?,
        after: unpack(&mut counts)?,
        cause,
        adjustment: row.get(6)?,
        made_at_ms: row.get(7)?,
    })
}

#[async_trait]
impl SealReports for Seals {
    async fn correct(&self, hour: Hour, corrections: &[Correction]) -> PortResult<()> {
        for some in corrections.chunks(ROWS) {
            let some = some.to_vec();
            let correct = move |group: &mut Group<'_>| {
                let mut put = group.conn.prepare_cached(
                    "INSERT OR REPLACE INTO corrections(
                         hour, version, kind, id, minute, counts, cause, adjustment, made_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?;
                for one in some {
                    let (kind, id) = stored(one.entity);
                    put.execute((
                        hour.0,
                        one.version.cast_signed(),
                        kind,
                        id,
                        one.minute.0,
                        pack(&one.before, &one.after),
                        to_json(&one.cause)?,
                        one.adjustment,
                        one.made_at_ms,
                    ))?;
                }
                Ok(())
            };
            self.store.queue.submit(correct).await?;
        }
        Ok(())
    }

    async fn corrections(
        &self,
        hour: Hour,
        after: Option<(u64, Entity, Minute)>,
        limit: usize,
    ) -> PortResult<Vec<Correction>> {
        // Kinds begin at 1.
        let (version, (kind, id), minute) = after
            .map_or((0, (0, 0), Minute(0)), |(version, entity, minute)| {
                (version, stored(entity), minute)
            });
        let query = move |conn: &Connection| {
            let mut select = conn.prepare_cached(
                "SELECT version, kind, id, minute, counts, cause, adjustment, made_ms FROM corrections
                 WHERE hour = ?1 AND (version, kind, id, minute) > (?2, ?3, ?4, ?5)
                 ORDER BY version, kind, id, minute LIMIT ?6",
            )?;
            let mut rows =
                select.query((hour.0, version.cast_signed(), kind, id, minute.0, limited(limit)))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(correction(row)?);
            }
            Ok(found)
        };
        self.store.readers.read(query).await
    }

    async fn report(&self, report: &HourReport) -> PortResult<()> {
        let report = report.clone();
        let put = move |group: &mut Group<'_>| {
            group
                .conn
                .prepare_cached("INSERT OR REPLACE INTO seal_reports(hour, at_ms, body) VALUES (?1, ?2, ?3)")?
                .execute((report.hour.0, report.at_ms, to_json(&report)?))?;
            Ok(())
        };
        self.store.queue.submit(put).await
    }

    async fn reports(
        &self,
        from: Hour,
        to: Hour,
        after: Option<(Hour, i64)>,
        limit: usize,
    ) -> PortResult<Vec<HourReport>> {
        let (after_hour, after_ms) = after.map_or((i64::MIN, i64::MIN), |(hour, at_ms)| (hour.0, at_ms));
        let query = move |conn: &Connection| {
            let mut select = conn.prepare_cached(
                "SELECT body FROM seal_reports
                 WHERE hour >= ?1 AND hour < ?2 AND (hour, at_ms) > (?3, ?4) ORDER BY hour, at_ms LIMIT ?5",
            )?;
            let mut rows =
                select.query((from.0.max(after_hour), to.0, after_hour, after_ms, limited(limit)))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(of_json(row, 0)?);
            }
            Ok(found)
        };
        self.store.readers.read(query).await
    }
}
