//! The raw lake: records as they were appended.

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::ports::{PortResult, RawLake, StreamRecord};

use super::Held;

/// [`RawLake`] in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryLake {
    records: Held<Vec<(ShardId, StreamRecord)>>,
}

impl MemoryLake {
    /// Every record with its shard, in the order of appending; one that was appended twice is there twice.
    pub fn records(&self) -> Vec<(ShardId, StreamRecord)> {
        self.records.lock().clone()
    }
}

#[async_trait]
impl RawLake for MemoryLake {
    async fn append(&self, shard: &ShardId, records: &[StreamRecord]) -> PortResult<()> {
        let records = records.iter().map(|record| (shard.clone(), record.clone()));
        self.records.lock().extend(records);
        Ok(())
    }
}
