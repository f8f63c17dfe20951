//! Buckets and partials: the clicks of one entity in one minute, and one shard's share of them.

use super::counter::Counters;
use super::entity::{BucketKey, Entity};
use super::sequence::SequenceNumber;
use super::time::Minute;

/// A shard's name: Kinesis's own `shardId-000000000000`, or the embedded stream's.
pub type ShardId = std::sync::Arc<str>;

/// Under which watermark a partial may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// No watermark yet, or one below this sequence number: the first that the delta holds.
    Below(SequenceNumber),
    /// Exactly this watermark: the delta was folded anew after a refusal that answered with it.
    Exactly(SequenceNumber),
}

/// One conditional update of one partial: add the counts and move the watermark, together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialWrite {
    /// Which bucket.
    pub key: BucketKey,
    /// From which shard.
    pub shard: ShardId,
    /// When it may be applied.
    pub condition: Condition,
    /// The watermark afterwards: the last sequence number that the delta holds.
    pub last: SequenceNumber,
    /// What to add; empty where only repeats were dropped, which still moves the watermark.
    pub delta: Counters,
}

/// How a [`PartialWrite`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Counts and watermark were written.
    Applied,
    /// The condition failed; the stored watermark, or `None` where there is no partial at all.
    Stale(Option<SequenceNumber>),
}

/// One stored minute of an entity, all shards of it added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Whose clicks.
    pub entity: Entity,
    /// In which minute.
    pub minute: Minute,
    /// What was counted.
    pub counters: Counters,
}
