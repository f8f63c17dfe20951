//! Lane logs under faults.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::lane::LaneItem;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{LaneLog, PortResult};

super::wrapper!(
    /// [`LaneLog`] under faults.
    FaultyLanes, LaneLog
);

#[async_trait]
impl LaneLog for FaultyLanes {
    async fn append(&self, shard: &ShardId, item: LaneItem) -> PortResult<()> {
        let (port, shard) = (Arc::clone(&self.port), shard.clone());
        self.faults
            .write(async move { port.append(&shard, item).await })
            .await
    }

    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        since_ms: i64,
    ) -> PortResult<Vec<LaneItem>> {
        self.faults.read(self.port.read(shard, after, since_ms)).await
    }

    async fn expire(&self, shard: &ShardId, up_to: SequenceNumber, before_ms: i64) -> PortResult<usize> {
        let (port, shard) = (Arc::clone(&self.port), shard.clone());
        self.faults
            .write(async move { port.expire(&shard, up_to, before_ms).await })
            .await
    }
}
