//! The pump: what an event source mapping does, for streams that have none (DESIGN section 4, point 6).
//!
//! Invariant: one batch of a shard at a time, in order, again from the lowest failure; a child shard starts when all its
//! ancestors are read to their end. A batch is never given up.

use std::sync::Arc;

use async_trait::async_trait;

use super::aggregate::{Aggregate, BatchRecord};
use crate::domain::bucket::ShardId;
use crate::domain::sequence::SequenceNumber;
use crate::domain::time::Hour;
use crate::ports::{PortResult, Position, RawLake, Shard, ShardReader, StreamRecord};

/// Who is fed by a pump.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Its name: positions are kept by it.
    fn name(&self) -> &str;
    /// Works a batch; answers the lowest sequence number that it could not finish.
    async fn consume(&self, shard: &ShardId, batch: &[StreamRecord]) -> Option<SequenceNumber>;
}

/// Position name of [`Aggregate`].
pub const AGGREGATE: &str = "aggregate";
/// Position name of [`LakeDelivery`].
pub const LAKE: &str = "lake";

#[async_trait]
impl Consumer for Aggregate {
    fn name(&self) -> &str {
        AGGREGATE
    }

    async fn consume(&self, shard: &ShardId, batch: &[StreamRecord]) -> Option<SequenceNumber> {
        let batch: Vec<_> = batch
            .iter()
            .map(|record| BatchRecord {
                sequence_number: record.sequence_number,
                arrived_at_ms: record.arrived_at_ms,
                data: &record.data,
            })
            .collect();
        self.run(shard, &batch, None).await
    }
}

/// Delivers the stream to the raw lake, where no Firehose does it, each arrival hour by itself. A batch that is delivered again lies in the lake twice:
/// a recount reduces by `click_id`.
pub struct LakeDelivery {
    lake: Arc<dyn RawLake>,
}

impl LakeDelivery {
    /// Delivers to this lake.
    pub fn new(lake: Arc<dyn RawLake>) -> Self {
        Self { lake }
    }
}

#[async_trait]
impl Consumer for LakeDelivery {
    fn name(&self) -> &str {
        LAKE
    }

    async fn consume(&self, shard: &ShardId, batch: &[StreamRecord]) -> Option<SequenceNumber> {
        // By the hour: after an outage a batch may span many, and what lies hours before its own arrival is not recounted.
        let hour = |record: &StreamRecord| Hour::of(record.arrived_at_ms);
        for of_hour in batch.chunk_by(|a, b| hour(a) == hour(b)) {
            if let Err(error) = self.lake.append(shard, of_hour).await {
                tracing::warn!(%shard, %error, "a batch could not be delivered to the lake");
                return of_hour.first().map(|record| record.sequence_number);
            }
        }
        None
    }
}

/// How far one round came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pumped {
    /// Records that were finished.
    pub done: usize,
    /// Whether some could not be: wait before the next round.
    pub failed: bool,
    /// Whether a shard had a full batch: there is more to come at once.
    pub more: bool,
}

impl Pumped {
    fn add(&mut self, other: Pumped) {
        self.done += other.done;
        self.failed |= other.failed;
        self.more |= other.more;
    }
}

/// Feeds one consumer from every shard.
pub struct Pump {
    reader: Arc<dyn ShardReader>,
    consumer: Arc<dyn Consumer>,
    batch: usize,
}

impl Pump {
    /// A pump of batches of at most `batch` records.
    pub fn new(reader: Arc<dyn ShardReader>, consumer: Arc<dyn Consumer>, batch: usize) -> Self {
        Self {
            reader,
            consumer,
            batch: batch.max(1),
        }
    }

    /// One batch from each shard that may be read.
    ///
    /// # Errors
    /// Where the stream does not answer; what was worked but not noted is delivered again.
    pub async fn round(&self) -> PortResult<Pumped> {
        let mut pumped = Pumped::default();
        for shard in self.reader.shards().await? {
            pumped.add(self.shard(&shard).await?);
        }
        Ok(pumped)
    }

    /// One batch of this shard, if its parents are read to their end.
    ///
    /// # Errors
    /// Where the stream does not answer.
    pub async fn shard(&self, shard: &Shard) -> PortResult<Pumped> {
        let name = self.consumer.name();
        // A parent ends only after its own parents have ended, so asking the parents asks all ancestors.
        if !shard.parents.is_empty() {
            let shards = self.reader.shards().await?;
            let known = |parent: &ShardId| shards.iter().any(|other| other.id == *parent);
            for parent in shard.parents.iter().filter(|parent| known(parent)) {
                if !self.reader.position(name, parent).await?.ended {
                    return Ok(Pumped::default());
                }
            }
        }
        let position = self.reader.position(name, &shard.id).await?;
        if position.ended {
            return Ok(Pumped::default());
        }
        let batch = self.reader.read(&shard.id, position.done, self.batch).await?;
        if batch.is_empty() {
            // `closed` was read before the shard was found empty, so nothing can have come in between.
            if shard.closed {
                self.reader
                    .advance(
                        name,
                        &shard.id,
                        Position {
                            ended: true,
                            ..position
                        },
                    )
                    .await?;
            }
            return Ok(Pumped::default());
        }
        let failed = self.consumer.consume(&shard.id, &batch).await;
        let done: Vec<_> = batch
            .iter()
            .map(|r| r.sequence_number)
            .take_while(|n| failed.is_none_or(|f| *n < f))
            .collect();
        if let Some(last) = done.last() {
            self.reader
                .advance(
                    name,
                    &shard.id,
                    Position {
                        done: Some(*last),
                        ended: false,
                    },
                )
                .await?;
        }
        Ok(Pumped {
            done: done.len(),
            failed: failed.is_some(),
            more: failed.is_none() && batch.len() == self.batch,
        })
    }
}
