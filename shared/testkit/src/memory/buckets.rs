//! Partials under their watermarks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Bucket, Committed, Condition, PartialWrite, ShardId};
use clickledger_core::domain::counter::Counters;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::{BucketStore, MinuteTotals, PortResult};

use super::Held;

/// One partial as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPartial {
    /// Its bucket.
    pub key: BucketKey,
    /// Its shard.
    pub shard: ShardId,
    /// The highest sequence number that it has absorbed.
    pub watermark: SequenceNumber,
    /// What was counted.
    pub counters: Counters,
}

/// [`BucketStore`] in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryBuckets {
    /// A bucket's partials, in the order of their shards' first writes.
    partials: Held<BTreeMap<BucketKey, Vec<StoredPartial>>>,
}

impl MemoryBuckets {
    /// Every partial, by bucket.
    pub fn all(&self) -> Vec<StoredPartial> {
        self.partials.lock().values().flatten().cloned().collect()
    }

    /// Every bucket with its partials added up, those included in which nothing was counted.
    pub fn sums(&self) -> BTreeMap<BucketKey, Counters> {
        let partials = self.partials.lock();
        partials.iter().map(|(key, found)| (*key, sum(found))).collect()
    }
}

fn sum(partials: &[StoredPartial]) -> Counters {
    let mut counters = Counters::default();
    for partial in partials {
        counters.merge(&partial.counters);
    }
    counters
}

fn applies(condition: Condition, watermark: Option<SequenceNumber>) -> bool {
    match condition {
        Condition::Below(first) => watermark.is_none_or(|watermark| watermark < first),
        Condition::Exactly(expected) => watermark == Some(expected),
    }
}

fn commit(partials: &mut BTreeMap<BucketKey, Vec<StoredPartial>>, write: PartialWrite) -> Committed {
    let found = partials.get_mut(&write.key);
    let stored = found.and_then(|found| found.iter_mut().find(|partial| partial.shard == write.shard));
    let watermark = stored.as_ref().map(|partial| partial.watermark);
    if !applies(write.condition, watermark) {
        return Committed::Stale(watermark);
    }
    match stored {
        Some(partial) => {
            partial.watermark = write.last;
            partial.counters.merge(&write.delta);
        }
        None => partials.entry(write.key).or_default().push(StoredPartial {
            key: write.key,
            shard: write.shard,
            watermark: write.last,
            counters: write.delta,
        }),
    }
    Committed::Applied
}

#[async_trait]
impl BucketStore for MemoryBuckets {
    async fn commit(&self, writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>> {
        let mut partials = self.partials.lock();
        writes
            .into_iter()
            .map(|write| Ok(commit(&mut partials, write)))
            .collect()
    }

    async fn read(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<Bucket>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let key = |minute| BucketKey { entity, minute };
        let partials = self.partials.lock();
        let buckets = partials
            .range(key(from)..key(to))
            .map(|(key, found)| Bucket {
                entity,
                minute: key.minute,
                counters: sum(found),
            })
            .filter(|bucket| !bucket.counters.is_empty())
            .collect();
        Ok(buckets)
    }

    async fn read_totals(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<MinuteTotals>> {
        let buckets = self.read(entity, from, to).await?;
        let totals = buckets
            .iter()
            .map(|bucket| MinuteTotals::of(bucket.minute, &bucket.counters));
        Ok(totals.collect())
    }

    async fn forget(&self, hour: Hour, entities: &[Entity]) -> PortResult<()> {
        let goes = |key: &BucketKey| key.minute.hour() == hour && entities.contains(&key.entity);
        self.partials.lock().retain(|key, _| !goes(key));
        Ok(())
    }
}
