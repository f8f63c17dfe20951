//! Partials under their watermarks, and reading what they add up to.
//!
//! Invariant: one thread writes (see [`crate::partials`]), so that between reading a watermark and moving it nobody else
//! does either.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Bucket, Committed, PartialWrite};
use clickledger_core::domain::counter::Counters;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::{BucketStore, MinuteTotals, PortError, PortResult};
use rusqlite::{Connection, Row};

use crate::failure::Failure;
use crate::group::Group;
use crate::hot::stored;
use crate::hour_row::{PLACES, Partials, TotalsOf};
use crate::store::Store;
use clickledger_core::domain::packed::{self, Totals};

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

/// How long a write waits for room in memory.
const WAIT: Duration = Duration::from_secs(2);

impl Buckets {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Waits until partials in memory have been put into their rows, where there are too many.
    async fn room(&self) -> PortResult<()> {
        let mut full = self.store.full.clone();
        if !*full.borrow() {
            return Ok(());
        }
        match tokio::time::timeout(WAIT, full.wait_for(|full| !full)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(PortError::unavailable(
                "too many partials wait to be put into their table",
            )),
        }
    }

    /// Adds up the entity's partials by minute: those in memory with `hot`, other partials of `buckets` with `row`, which
    /// gets each row's place to add to, and which of its places to leave out.
    async fn sum<T: Sum>(
        &self,
        range: Range,
        columns: &'static str,
        hot: fn(&Counters, &mut T),
        row: fn(&Row<'_>, &mut Minutes<T>, i64, u64) -> Result<(), Failure>,
    ) -> PortResult<Vec<(Minute, T)>> {
        // Memory first: what leaves it is in the table by then.
        let (mut in_memory, mut sums) = (Vec::<InMemory>::new(), Minutes::new(range));
        self.store
            .hot
            .each(range.entity, range.from, range.to, |key, counters| {
                let (row, place) = ((key.row.hour, key.row.shard), 1 << key.place);
                match in_memory.last_mut().filter(|last| last.row == row) {
                    Some(last) => last.places |= place,
                    None => in_memory.push(InMemory { row, places: place }),
                }
                hot(counters, sums.at(key.row.hour, key.place));
            });
        let in_memory_sums = sums.finish();
        let query = move |conn: &Connection| {
            let mut sums = Minutes::new(range);
            each_row(conn, range, columns, |stored, hour, shard| {
                let found = in_memory.binary_search_by_key(&(hour, shard), |found| found.row);
                row(
                    stored,
                    &mut sums,
                    hour,
                    found.map_or(0, |found| in_memory[found].places),
                )
            })?;
            Ok(merged(sums.finish(), in_memory_sums))
        };
        self.store.readers.read(query).await
    }
}

/// Which partials of a row, by hour and shard, are in memory.
struct InMemory {
    row: (i64, i64),
    /// Bit n is the hour's minute n.
    places: u64,
}

/// What partials add up to.
trait Sum: Default + Send + 'static {
    fn add(&mut self, other: &Self);
}

impl Sum for Totals {
    fn add(&mut self, other: &Self) {
        self.iter_mut().zip(other).for_each(|(sum, count)| *sum += count);
    }
}

impl Sum for Counters {
    fn add(&mut self, other: &Self) {
        self.merge(other);
    }
}

/// Sums by minute, made hour by hour.
struct Minutes<T> {
    range: Range,
    hour: i64,
    sums: [T; PLACES as usize],
    /// Bit n: minute n of the hour has a sum.
    present: u64,
    finished: Vec<(Minute, T)>,
}

impl<T: Sum> Minutes<T> {
    fn new(range: Range) -> Self {
        Self {
            range,
            hour: 0,
            sums: std::array::from_fn(|_| T::default()),
            present: 0,
            finished: Vec::new(),
        }
    }

    /// Whether the minute is asked for and not among the places that are left out.
    fn wants(&self, hour: i64, place: u8, without: u64) -> bool {
        without >> place & 1 == 0 && (self.range.from..self.range.to).contains(&minute(hour, place))
    }

    /// The minute's sum; hours come in order.
    fn at(&mut self, hour: i64, place: u8) -> &mut T {
        if hour != self.hour {
            self.finish_hour();
            self.hour = hour;
        }
        self.present |= 1 << place;
        &mut self.sums[usize::from(place)]
    }

    fn finish_hour(&mut self) {
        while self.present != 0 {
            let place = self.present.trailing_zeros() as u8;
            self.present &= self.present - 1;
            let sum = std::mem::take(&mut self.sums[usize::from(place)]);
            self.finished.push((minute(self.hour, place), sum));
        }
    }

    fn finish(mut self) -> Vec<(Minute, T)> {
        self.finish_hour();
        self.finished
    }
}

fn minute(hour: i64, place: u8) -> Minute {
    Minute(hour * i64::from(PLACES) + i64::from(place))
}

/// Both lists' sums, by minute.
fn merged<T: Sum>(stored: Vec<(Minute, T)>, in_memory: Vec<(Minute, T)>) -> Vec<(Minute, T)> {
    if in_memory.is_empty() {
        return stored;
    }
    let mut all = Vec::with_capacity(stored.len() + in_memory.len());
    let mut in_memory = in_memory.into_iter().peekable();
    for (minute, mut sum) in stored {
        while let Some(earlier) = in_memory.next_if(|(other, _)| *other < minute) {
            all.push(earlier);
        }
        if let Some((_, same)) = in_memory.next_if(|(other, _)| *other == minute) {
            sum.add(&same);
        }
        all.push((minute, sum));
    }
    all.extend(in_memory);
    all
}

/// Gives the entity's rows to `each`, with their hour and shard, in that order.
fn each_row(
    conn: &Connection,
    range: Range,
    columns: &str,
    mut each: impl FnMut(&Row<'_>, i64, i64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut select = conn.prepare_cached(&format!(
        "SELECT hour, shard, {columns} FROM buckets
         WHERE kind = ?1 AND id = ?2 AND hour >= ?3 AND hour <= ?4 ORDER BY hour, shard",
    ))?;
    if range.from >= range.to {
        return Ok(());
    }
    let (kind, id) = stored(range.entity);
    let mut rows = select.query((kind, id, range.from.hour().0, Minute(range.to.0 - 1).hour().0))?;
    while let Some(row) = rows.next()? {
        each(row, row.get(0)?, row.get(1)?)?;
    }
    Ok(())
}

fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], Failure> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

#[async_trait]
impl BucketStore for Buckets {
    async fn commit(&self, writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>> {
        let count = writes.len();
        if let Err(error) = self.room().await {
            return vec![Err(error); count];
        }
        let committed = self.store.queue.submit(move |group: &mut Group<'_>| {
            let mut outcomes = Vec::with_capacity(writes.len());
            for write in writes {
                outcomes.push(match group.partials.write(group.conn, write, group.now_ms) {
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
        let row = |row: &Row<'_>, sums: &mut Minutes<Counters>, hour: i64, without: u64| {
            for stored in Partials::of(blob(row, 2)?, blob(row, 3)?) {
                let stored = stored?;
                if sums.wants(hour, stored.place, without) {
                    stored.add(sums.at(hour, stored.place))?;
                }
            }
            Ok(())
        };
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
        let row = |row: &Row<'_>, sums: &mut Minutes<Totals>, hour: i64, without: u64| {
            for stored in TotalsOf(blob(row, 2)?) {
                let (place, totals) = stored?;
                if sums.wants(hour, place, without) {
                    sums.at(hour, place).add(&totals);
                }
            }
            Ok(())
        };
        let sums = self
            .sum(Range { entity, from, to }, "totals", packed::fold, row)
            .await?;
        let counted = sums
            .into_iter()
            .filter(|(_, totals)| totals.iter().any(|count| *count > 0));
        Ok(counted
            .map(|(minute, totals)| MinuteTotals::of_totals(minute, totals))
            .collect())
    }

    async fn forget(&self, hour: Hour, entities: &[Entity]) -> PortResult<()> {
        // What is still in memory is not this old, or it is put into its row again and stays: that costs room, no count.
        let rows: Vec<(i64, i64)> = entities.iter().map(|entity| stored(*entity)).collect();
        let forget = self.store.queue.submit(move |group: &mut Group<'_>| {
            let delete = "DELETE FROM buckets WHERE kind = ?1 AND id = ?2 AND hour = ?3";
            let mut delete = group.conn.prepare_cached(delete)?;
            for (kind, id) in rows {
                delete.execute([kind, id, hour.0])?;
            }
            Ok(())
        });
        forget.await
    }
}

#[cfg(test)]
mod tests;
