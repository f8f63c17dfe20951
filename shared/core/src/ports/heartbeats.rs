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

impl BeatenShard {
    /// These shards in an order in which parents come before their children; parents that are not among them are taken
    /// for gone.
    pub fn parents_first(shards: Vec<Self>) -> Vec<Self> {
        let (mut ordered, mut left) = (Vec::with_capacity(shards.len()), shards);
        while !left.is_empty() {
            let waits = |shard: &Self| left.iter().any(|other| shard.parents.contains(&other.shard));
            let (wait, ready): (Vec<_>, Vec<_>) = left.iter().cloned().partition(waits);
            if ready.is_empty() {
                // Nobody is its own ancestor; whoever claims it is not to be lost for that.
                ordered.extend(wait);
                break;
            }
            ordered.extend(ready);
            left = wait;
        }
        ordered
    }
}

/// Which heartbeats were acknowledged, and on which shards: kept at least as long as hours may still have to be proved, also
/// of shards that the stream no longer lists.
#[async_trait]
pub trait HeartbeatLog: Send + Sync {
    /// Remembers a shard, also one that no heartbeat has reached yet. Twice is once: the parents of the first time stay,
    /// since streams forget them.
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
