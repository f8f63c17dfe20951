//! Heartbeats and their log under faults.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::heartbeat::Beat;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{BeatenShard, HeartbeatLog, Heartbeats, PortResult};

super::wrapper!(
    /// [`Heartbeats`] under faults.
    FaultyHeartbeats, Heartbeats
);

#[async_trait]
impl Heartbeats for FaultyHeartbeats {
    async fn beat(&self, shard: &ShardId, line: Vec<u8>) -> PortResult<SequenceNumber> {
        let (port, shard) = (Arc::clone(&self.port), shard.clone());
        self.faults
            .write(async move { port.beat(&shard, line).await })
            .await
    }
}

super::wrapper!(
    /// [`HeartbeatLog`] under faults.
    FaultyHeartbeatLog, HeartbeatLog
);

#[async_trait]
impl HeartbeatLog for FaultyHeartbeatLog {
    async fn know(&self, shard: &BeatenShard) -> PortResult<()> {
        let (port, shard) = (Arc::clone(&self.port), shard.clone());
        self.faults.write(async move { port.know(&shard).await }).await
    }

    async fn known(&self) -> PortResult<Vec<BeatenShard>> {
        self.faults.read(self.port.known()).await
    }

    async fn acknowledged(&self, beat: &Beat) -> PortResult<()> {
        let (port, beat) = (Arc::clone(&self.port), beat.clone());
        self.faults
            .write(async move { port.acknowledged(&beat).await })
            .await
    }

    async fn around(&self, shard: &ShardId, from_ms: i64, to_ms: i64) -> PortResult<Vec<Beat>> {
        self.faults.read(self.port.around(shard, from_ms, to_ms)).await
    }

    async fn last(&self, shard: &ShardId) -> PortResult<Option<Beat>> {
        self.faults.read(self.port.last(shard)).await
    }

    async fn expire(&self, before_ms: i64) -> PortResult<usize> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.expire(before_ms).await })
            .await
    }
}
