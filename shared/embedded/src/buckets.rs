//! Partials under their watermarks.
//!
//! Invariant: one thread writes, so that between reading a watermark and moving it nobody else does either.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Bucket, Committed, Condition, PartialWrite};
use clickledger_core::domain::counter::Counters;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::Minute;
use clickledger_core::ports::{BucketStore, MinuteTotals, PortResult};
use rusqlite::{Connection, OptionalExtension};

use crate::counts::{self, Totals};
use crate::failure::Failure;
use crate::group::Group;
use crate::shards::{self, ShardNumber};
use crate::store::Store;

/// The embedded [`BucketStore`].
#[derive(Clone)]
pub struct Buckets {
    store: Arc<Store>,
}

impl Buckets {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

/// An entity as rows name it.
fn stored(entity: Entity) -> (i64, i64) {
    match entity {
        Entity::Ad(id) => (1, id.0.cast_signed()),
        Entity::Campaign(id) => (2, id.0.cast_signed()),
        Entity::Advertiser(id) => (3, id.0.cast_signed()),
        Entity::Placement(id) => (4, id.0.cast_signed()),
        Entity::Total => (5, 0),
    }
}

/// Whether a write under this condition may be applied to a partial with this watermark.
fn applies(condition: Condition, watermark: Option<SequenceNumber>) -> bool {
    match condition {
        Condition::Below(first) => watermark.is_none_or(|stored| stored < first),
        Condition::Exactly(expected) => watermark == Some(expected),
    }
}

fn commit(group: &Group<'_>, write: &PartialWrite, buffers: &mut [Vec<u8>; 2]) -> Result<Committed, Failure> {
    let (shard, last) = (ShardNumber::of(&write.shard)?, shards::stored(write.last)?);
    let ((kind, id), minute) = (stored(write.key.entity), write.key.minute.0);
    let mut select = group.conn.prepare_cached(
        "SELECT watermark, totals, cells FROM buckets WHERE kind = ?1 AND id = ?2 AND minute = ?3 AND shard = ?4",
    )?;
    let mut counters = Counters::default();
    let watermark = select
        .query_row((kind, id, minute, shard.0), |row| {
            let (totals, cells) = (row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?);
            Ok(counts::add(totals, cells, &mut counters).map(|()| row.get(0)))
        })
        .optional()?
        .transpose()?
        .transpose()?
        .map(shards::sequence);
    if !applies(write.condition, watermark) {
        return Ok(Committed::Stale(watermark));
    }
    counters.merge(&write.delta);
    let [totals, cells] = buffers;
    counts::encode(&counters, totals, cells);
    group
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO buckets(kind, id, minute, shard, watermark, totals, cells)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((kind, id, minute, shard.0, last, &*totals, &*cells))?;
    Ok(Committed::Applied)
}

#[async_trait]
impl BucketStore for Buckets {
    async fn commit(&self, writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>> {
        let count = writes.len();
        let committed = self.store.queue.submit(move |group| {
            let mut buffers = [Vec::new(), Vec::new()];
            let mut outcomes = Vec::with_capacity(writes.len());
            for write in &writes {
                outcomes.push(match commit(group, write, &mut buffers) {
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
        let query = move |conn: &Connection| {
            let mut select = conn.prepare_cached(
                "SELECT minute, totals, cells FROM buckets
                 WHERE kind = ?1 AND id = ?2 AND minute >= ?3 AND minute < ?4 ORDER BY minute, shard",
            )?;
            let (kind, id) = stored(entity);
            let mut rows = select.query((kind, id, from.0, to.0))?;
            let mut found: Vec<Bucket> = Vec::new();
            while let Some(row) = rows.next()? {
                let minute = Minute(row.get(0)?);
                if found.last().is_none_or(|bucket| bucket.minute != minute) {
                    found.push(Bucket {
                        entity,
                        minute,
                        counters: Counters::default(),
                    });
                }
                if let Some(bucket) = found.last_mut() {
                    let blob = |place| row.get_ref(place)?.as_blob().map_err(rusqlite::Error::from);
                    counts::add(blob(1)?, blob(2)?, &mut bucket.counters)?;
                }
            }
            // A partial that only repeats have moved holds no click.
            found.retain(|bucket| !bucket.counters.is_empty());
            Ok(found)
        };
        self.store.readers.read(query).await
    }

    async fn read_totals(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<MinuteTotals>> {
        let query = move |conn: &Connection| {
            let mut select = conn.prepare_cached(
                "SELECT minute, totals FROM buckets
                 WHERE kind = ?1 AND id = ?2 AND minute >= ?3 AND minute < ?4 ORDER BY minute, shard",
            )?;
            let (kind, id) = stored(entity);
            let mut rows = select.query((kind, id, from.0, to.0))?;
            let mut sums: Vec<(i64, Totals)> = Vec::new();
            while let Some(row) = rows.next()? {
                let minute = row.get(0)?;
                if sums.last().is_none_or(|(last, _)| *last != minute) {
                    sums.push((minute, [0; 9]));
                }
                if let Some((_, totals)) = sums.last_mut() {
                    counts::add_totals(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?, totals)?;
                }
            }
            Ok(sums
                .into_iter()
                .filter(|(_, totals)| totals.iter().any(|count| *count > 0))
                .map(of_minute)
                .collect())
        };
        self.store.readers.read(query).await
    }
}

fn of_minute((minute, totals): (i64, Totals)) -> MinuteTotals {
    let [valid, rest @ ..] = totals;
    let mut invalid = [0; 9];
    invalid[1..].copy_from_slice(&rest);
    MinuteTotals {
        minute: Minute(minute),
        valid,
        invalid,
    }
}
