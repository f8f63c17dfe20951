//! Partials under their watermarks, and reading what they add up to.
//!
//! Invariant: one thread writes (see [`crate::partials`]), so that between reading a watermark and moving it nobody else
//! does either.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Bucket, Committed, PartialWrite};
use clickledger_core::domain::counter::{Counted, Counters};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::time::Minute;
use clickledger_core::ports::{BucketStore, MinuteTotals, PortResult};
use rusqlite::{Connection, Row};

use crate::counts::{self, Totals};
use crate::failure::Failure;
use crate::group::Group;
use crate::partials::stored;
use crate::store::Store;

/// The embedded [`BucketStore`].
#[derive(Clone)]
pub struct Buckets {
    store: Arc<Store>,
}

/// An entity's minutes.
#[derive(Clone, Copy)]
struct Range {
    entity: Entity,
    from: Minute,
    to: Minute,
}

impl Buckets {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Adds up the entity's partials by minute: those in memory with `hot`, other rows of `buckets` with `row`.
    async fn sum<T: Default + Send + 'static>(
        &self,
        range: Range,
        columns: &'static str,
        hot: fn(&Counters, &mut T),
        row: fn(&Row<'_>, &mut T) -> Result<(), Failure>,
    ) -> PortResult<Vec<(Minute, T)>> {
        // Memory first: see `Hot::range`.
        let in_memory = self.store.hot.range(range.entity, range.from, range.to);
        let query = move |conn: &Connection| {
            let mut sums = rows(conn, range, columns, row, |minute, shard| {
                in_memory.first().is_some_and(|first| first.0 <= minute)
                    && in_memory
                        .binary_search_by_key(&(minute, shard), |partial| (partial.0, partial.1))
                        .is_ok()
            })?;
            for (minute, _, counters) in &in_memory {
                let place = sums.partition_point(|(other, _)| other.0 < *minute);
                if sums.get(place).is_none_or(|(other, _)| other.0 != *minute) {
                    sums.insert(place, (Minute(*minute), T::default()));
                }
                hot(counters, &mut sums[place].1);
            }
            Ok(sums)
        };
        self.store.readers.read(query).await
    }
}

fn rows<T: Default>(
    conn: &Connection,
    range: Range,
    columns: &str,
    add: fn(&Row<'_>, &mut T) -> Result<(), Failure>,
    skip: impl Fn(i64, i64) -> bool,
) -> Result<Vec<(Minute, T)>, Failure> {
    let mut select = conn.prepare_cached(&format!(
        "SELECT minute, shard, {columns} FROM buckets
         WHERE kind = ?1 AND id = ?2 AND minute >= ?3 AND minute < ?4 ORDER BY minute, shard",
    ))?;
    let (kind, id) = stored(range.entity);
    let mut rows = select.query((kind, id, range.from.0, range.to.0))?;
    let mut sums: Vec<(Minute, T)> = Vec::new();
    while let Some(row) = rows.next()? {
        let minute = row.get(0)?;
        if skip(minute, row.get(1)?) {
            continue;
        }
        if sums.last().is_none_or(|(last, _)| last.0 != minute) {
            sums.push((Minute(minute), T::default()));
        }
        if let Some((_, sum)) = sums.last_mut() {
            add(row, sum)?;
        }
    }
    Ok(sums)
}

fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], Failure> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

fn add_counters(counters: &Counters, totals: &mut Totals) {
    for (key, count) in counters.iter() {
        match key.counted() {
            Counted::Cell(..) => totals[0] += count,
            Counted::Invalid(verdict) => totals[verdict as usize] += count,
        }
    }
}

#[async_trait]
impl BucketStore for Buckets {
    async fn commit(&self, writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>> {
        let count = writes.len();
        let committed = self.store.queue.submit(move |group: &mut Group<'_>| {
            let mut outcomes = Vec::with_capacity(writes.len());
            for write in writes {
                outcomes.push(match group.partials.write(group.conn, write) {
                    Ok(committed) => Ok(committed),
                    Err(Failure::Refused(error)) => Err(error),
                    Err(broken @ Failure::Broken(_)) => return Err(broken),
                });
            }
            Ok(outcomes)
        });
        committed.await.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn read(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<Bucket>> {
        let row = |row: &Row<'_>, sum: &mut Counters| Ok(counts::add(blob(row, 2)?, blob(row, 3)?, sum)?);
        let hot = |counters: &Counters, sum: &mut Counters| sum.merge(counters);
        let sums = self
            .sum(Range { entity, from, to }, "totals, cells", hot, row)
            .await?;
        // A partial that only repeats have moved holds no click.
        let counted = sums.into_iter().filter(|(_, counters)| !counters.is_empty());
        Ok(counted
            .map(|(minute, counters)| Bucket {
                entity,
                minute,
                counters,
            })
            .collect())
    }

    async fn read_totals(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<MinuteTotals>> {
        let row = |row: &Row<'_>, sum: &mut Totals| Ok(counts::add_totals(blob(row, 2)?, sum)?);
        let sums = self
            .sum(Range { entity, from, to }, "totals", add_counters, row)
            .await?;
        let counted = sums
            .into_iter()
            .filter(|(_, totals)| totals.iter().any(|count| *count > 0));
        Ok(counted.map(of_minute).collect())
    }
}

fn of_minute((minute, totals): (Minute, Totals)) -> MinuteTotals {
    let [valid, rest @ ..] = totals;
    let mut invalid = [0; 9];
    invalid[1..].copy_from_slice(&rest);
    MinuteTotals {
        minute,
        valid,
        invalid,
    }
}
