//! Heartbeats: putting them on shards, and remembering which were acknowledged.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::bucket::ShardId;
use crate::domain::heartbeat::Beat;
use crate::domain::sequence::SequenceNumber;

/// Putting a record on a chosen shard.
#[async_trait]
pub trait Heartbeats: Send + Sync {
    /// Puts the line on this shard and answers its place there: only then it proves anything.
    ///
    /// # Errors
    /// [`PortError::Rejected`](super::PortError::Rejected) where the shard is closed, or the record went to another one.
    async fn beat(&self, shard: &ShardId, line: Vec<u8>) -> PortResult<SequenceNumber>;
}

/// A shard that heartbeats know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeatenShard {
    /// Its name.
    pub shard: ShardId,
    /// The shards that it came from.
    pub parents: Vec<ShardId>,
}

/// Which heartbeats were acknowledged, and on which shards: kept at least as long as hours may still have to be proved, also
/// of shards that the stream no longer lists.
#[async_trait]
pub trait HeartbeatLog: Send + Sync {
    /// Remembers a shard, also one that no heartbeat has reached yet. Twice is once.
    async fn know(&self, shard: &BeatenShard) -> PortResult<()>;
    /// Every shard that is remembered, parents before children.
    async fn known(&self) -> PortResult<Vec<BeatenShard>>;
    /// Remembers an acknowledged heartbeat. Twice is once.
    async fn acknowledged(&self, beat: &Beat) -> PortResult<()>;
    /// The shard's heartbeats around a time, in order of `sent_at_ms`: the last one that was acknowledged at or before
    /// `from_ms`, the first one that was sent at or after `to_ms`, and all between these two.
    async fn around(&self, shard: &ShardId, from_ms: i64, to_ms: i64) -> PortResult<Vec<Beat>>;
    /// The shard's last heartbeat.
    async fn last(&self, shard: &ShardId) -> PortResult<Option<Beat>>;
    /// Forgets heartbeats that were acknowledged before `before_ms`, but for each shard's last; says how many.
    async fn expire(&self, before_ms: i64) -> PortResult<usize>;
}
