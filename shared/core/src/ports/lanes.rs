//! Lane logs.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::bucket::ShardId;
use crate::domain::lane::LaneItem;
use crate::domain::sequence::SequenceNumber;

/// What shards have lately absorbed. Reads are strongly consistent.
#[async_trait]
pub trait LaneLog: Send + Sync {
    /// Adds an item; with one that has the same `last` it is joined ([`LaneItem::joined`]).
    async fn append(&self, shard: &ShardId, item: LaneItem) -> PortResult<()>;
    /// The shard's items after `after` (all, if `None`) whose last arrival is at or after `since_ms`, in order.
    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        since_ms: i64,
    ) -> PortResult<Vec<LaneItem>>;
    /// Forgets the shard's items with `last` at or below `up_to` whose last arrival is before `before_ms`; says how many.
    async fn expire(&self, shard: &ShardId, up_to: SequenceNumber, before_ms: i64) -> PortResult<usize>;
}
