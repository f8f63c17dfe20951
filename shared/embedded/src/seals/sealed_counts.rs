//! Counts under versions: one row for each entity, hour (or day) and version, packed (see
//! [`clickledger_core::domain::packed`]); totals and cells are columns of their own. Only a pair has something in `other`: its
//! placement.

use async_trait::async_trait;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::domain::packed::{PackedDay, PackedHour};
use clickledger_core::domain::sealed::{SealedDay, SealedHour};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::{PortResult, SealedCounts, SealedDayTotals, SealedHourTotals};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Seals, blob, entity_of, limited, sealed_key, unsigned};
use crate::failure::Failure;
use crate::group::Group;
use crate::hot::PAIR;

/// Rows that one commit group writes or forgets, at most: each lies in another page, and clicks wait for their group.
const ROWS: usize = 250;

/// Which old versions an hour has; by the index.
pub(crate) const HOUR_VERSIONS: &str =
    "SELECT DISTINCT version FROM sealed_hours WHERE hour = ?1 AND version < ?2 ORDER BY version";
/// Forgets some items of an hour's version; found by the index.
pub(crate) const FORGET_HOURS: &str = "DELETE FROM sealed_hours WHERE (kind, id, other, hour, version) IN (
    SELECT kind, id, other, hour, version FROM sealed_hours WHERE hour = ?1 AND version = ?2 LIMIT ?3)";
/// Which old versions a day has; by the index.
pub(crate) const DAY_VERSIONS: &str =
    "SELECT DISTINCT version FROM sealed_days WHERE day = ?1 AND version < ?2 ORDER BY version";
/// Forgets some items of a day's version; found by the index.
pub(crate) const FORGET_DAYS: &str = "DELETE FROM sealed_days WHERE (kind, id, other, day, version) IN (
    SELECT kind, id, other, day, version FROM sealed_days WHERE day = ?1 AND version = ?2 LIMIT ?3)";
/// The next placement by which an advertiser has clicks; one step of the index, however many hours it has.
pub(crate) const NEXT_PLACEMENT: &str =
    "SELECT other FROM sealed_hours WHERE kind = ?1 AND id = ?2 AND other > ?3 ORDER BY other LIMIT 1";
/// Whether it has some of these hours.
pub(crate) const HAS_PLACEMENT: &str = "SELECT 1 FROM sealed_hours
    WHERE kind = ?1 AND id = ?2 AND other = ?3 AND hour >= ?4 AND hour < ?5 LIMIT 1";

/// Forgets at most `limit` items of versions below `below`, but for those of `keep`.
fn forget(
    conn: &Connection,
    [versions, items]: [&str; 2],
    of: i64,
    below: u64,
    keep: &[u64],
    limit: usize,
) -> Result<usize, Failure> {
    let versions: Vec<u64> = conn
        .prepare_cached(versions)?
        .query_map([of, below.cast_signed()], |row| unsigned(row, 0))?
        .collect::<Result<_, _>>()?;
    let mut forgotten = 0;
    for version in versions.into_iter().filter(|version| !keep.contains(version)) {
        forgotten += conn.prepare_cached(items)?.execute((
            of,
            version.cast_signed(),
            limited(limit.min(ROWS) - forgotten),
        ))?;
        if forgotten == limit.min(ROWS) {
            break;
        }
    }
    Ok(forgotten)
}

impl Seals {
    /// Reads an entity's rows in `from..to` from one of the two tables, in the order of times and versions.
    async fn read<T: Send + 'static>(
        &self,
        sql: &'static str,
        entity: Entity,
        (from, to): (i64, i64),
        unpack: impl Fn(&Row<'_>, i64, u64) -> Result<T, Failure> + Send + 'static,
    ) -> PortResult<Vec<T>> {
        let (kind, id, other) = sealed_key(entity);
        let query = move |conn: &Connection| {
            let mut select = conn.prepare_cached(sql)?;
            let (mut rows, mut found) = (select.query((kind, id, from, to, other))?, Vec::new());
            while let Some(row) = rows.next()? {
                found.push(unpack(row, row.get(0)?, unsigned(row, 1)?)?);
            }
            Ok(found)
        };
        self.store.readers.read(query).await
    }
}

#[async_trait]
impl SealedCounts for Seals {
    async fn write_hours(
        &self,
        hour: Hour,
        version: u64,
        _slice: u32,
        items: Vec<SealedHour>,
    ) -> PortResult<()> {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let some: Vec<SealedHour> = items.by_ref().take(ROWS).collect();
            let write = move |group: &mut Group<'_>| {
                let mut put = group.conn.prepare_cached(
                    "INSERT OR REPLACE INTO sealed_hours(kind, id, other, hour, version, totals, cells)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?;
                for item in some {
                    let ((kind, id, other), packed) = (sealed_key(item.entity), PackedHour::pack(&item));
                    put.execute((
                        kind,
                        id,
                        other,
                        hour.0,
                        version.cast_signed(),
                        &packed.totals,
                        &packed.cells,
                    ))?;
                }
                Ok(())
            };
            self.store.queue.submit(write).await?;
        }
        Ok(())
    }

    async fn entities(
        &self,
        hour: Hour,
        version: u64,
        after: Option<Entity>,
        limit: usize,
    ) -> PortResult<Vec<Entity>> {
        // Kinds begin at 1.
        let (kind, id, other) = after.map_or((0, 0, 0), sealed_key);
        let query = move |conn: &Connection| {
            let mut select = conn.prepare_cached(
                "SELECT kind, id, other FROM sealed_hours
                 WHERE hour = ?1 AND version = ?2 AND (kind, id, other) > (?3, ?4, ?5)
                 ORDER BY kind, id, other LIMIT ?6",
            )?;
            let mut rows = select.query((hour.0, version.cast_signed(), kind, id, other, limited(limit)))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(entity_of(row, [0, 1], Some(2))?);
            }
            Ok(found)
        };
        self.store.readers.read(query).await
    }

    async fn read_hours(&self, entity: Entity, from: Hour, to: Hour) -> PortResult<Vec<SealedHour>> {
        let sql = "SELECT hour, version, totals, cells FROM sealed_hours
                   WHERE kind = ?1 AND id = ?2 AND other = ?5 AND hour >= ?3 AND hour < ?4 ORDER BY hour, version";
        let unpack = move |row: &Row<'_>, hour, version| {
            Ok(SealedHour {
                entity,
                hour: Hour(hour),
                version,
                minutes: PackedHour::minutes(blob(row, 2)?, blob(row, 3)?)?,
            })
        };
        self.read(sql, entity, (from.0, to.0), unpack).await
    }

    async fn read_hour_totals(
        &self,
        entity: Entity,
        from: Hour,
        to: Hour,
    ) -> PortResult<Vec<SealedHourTotals>> {
        let sql = "SELECT hour, version, totals FROM sealed_hours
                   WHERE kind = ?1 AND id = ?2 AND other = ?5 AND hour >= ?3 AND hour < ?4 ORDER BY hour, version";
        let unpack =
            |row: &Row<'_>, hour, version| Ok(SealedHourTotals::unpack(Hour(hour), version, blob(row, 2)?)?);
        self.read(sql, entity, (from.0, to.0), unpack).await
    }

    async fn placements(
        &self,
        advertiser: AdvertiserId,
        from: Hour,
        to: Hour,
        after: Option<PlacementId>,
        limit: usize,
    ) -> PortResult<Vec<PlacementId>> {
        let id = advertiser.0.cast_signed();
        let mut last = after.map_or(0, |after| after.0.cast_signed());
        let query = move |conn: &Connection| {
            let mut next = conn.prepare_cached(NEXT_PLACEMENT)?;
            let mut has = conn.prepare_cached(HAS_PLACEMENT)?;
            let mut found = Vec::new();
            while found.len() < limit {
                let Some(other) = next
                    .query_row((PAIR, id, last), |row| row.get::<_, i64>(0))
                    .optional()?
                else {
                    break;
                };
                last = other;
                if has.exists((PAIR, id, other, from.0, to.0))? {
                    found.push(PlacementId(other.cast_unsigned()));
                }
            }
            Ok(found)
        };
        self.store.readers.read(query).await
    }

    async fn write_days(&self, items: Vec<SealedDay>) -> PortResult<()> {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let some: Vec<SealedDay> = items.by_ref().take(ROWS).collect();
            let write = move |group: &mut Group<'_>| {
                let mut put = group.conn.prepare_cached(
                    "INSERT OR REPLACE INTO sealed_days(kind, id, other, day, version, totals, cells)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?;
                for item in some {
                    let ((kind, id, other), packed) = (sealed_key(item.entity), PackedDay::pack(&item));
                    let version = item.version.cast_signed();
                    put.execute((
                        kind,
                        id,
                        other,
                        item.day.0,
                        version,
                        &packed.totals,
                        &packed.cells,
                    ))?;
                }
                Ok(())
            };
            self.store.queue.submit(write).await?;
        }
        Ok(())
    }

    async fn read_days(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDay>> {
        let sql = "SELECT day, version, totals, cells FROM sealed_days
                   WHERE kind = ?1 AND id = ?2 AND other = ?5 AND day >= ?3 AND day < ?4 ORDER BY day, version";
        let unpack = move |row: &Row<'_>, day, version| {
            Ok(SealedDay {
                entity,
                day: Day(day),
                version,
                quarters: PackedDay::quarters(blob(row, 2)?, blob(row, 3)?)?,
            })
        };
        self.read(sql, entity, (from.0, to.0), unpack).await
    }

    async fn read_day_totals(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDayTotals>> {
        let sql = "SELECT day, version, totals FROM sealed_days
                   WHERE kind = ?1 AND id = ?2 AND other = ?5 AND day >= ?3 AND day < ?4 ORDER BY day, version";
        let unpack =
            |row: &Row<'_>, day, version| Ok(SealedDayTotals::unpack(Day(day), version, blob(row, 2)?)?);
        self.read(sql, entity, (from.0, to.0), unpack).await
    }

    async fn forget_hours(&self, hour: Hour, below: u64, keep: &[u64], limit: usize) -> PortResult<usize> {
        let keep = keep.to_vec();
        let forget = move |group: &mut Group<'_>| {
            let statements = [HOUR_VERSIONS, FORGET_HOURS];
            forget(group.conn, statements, hour.0, below, &keep, limit)
        };
        self.store.queue.submit(forget).await
    }

    async fn forget_days(&self, day: Day, below: u64, keep: u64, limit: usize) -> PortResult<usize> {
        let forget = move |group: &mut Group<'_>| {
            let statements = [DAY_VERSIONS, FORGET_DAYS];
            forget(group.conn, statements, day.0, below, &[keep], limit)
        };
        self.store.queue.submit(forget).await
    }
}
