//! Lane logs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::lane::LaneItem;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{LaneLog, PortResult};

use super::Held;

/// [`LaneLog`] in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryLanes {
    logs: Held<HashMap<ShardId, BTreeMap<SequenceNumber, LaneItem>>>,
}

impl MemoryLanes {
    /// The shard's items, in order.
    pub fn items(&self, shard: &ShardId) -> Vec<LaneItem> {
        let logs = self.logs.lock();
        logs.get(shard)
            .into_iter()
            .flat_map(|log| log.values().cloned())
            .collect()
    }

    /// Forgets every item of every shard, as no store may.
    pub fn clear(&self) {
        self.logs.lock().clear();
    }
}

#[async_trait]
impl LaneLog for MemoryLanes {
    async fn append(&self, shard: &ShardId, item: LaneItem) -> PortResult<()> {
        let mut logs = self.logs.lock();
        let log = logs.entry(shard.clone()).or_default();
        let item = match log.remove(&item.last) {
            Some(there) => there.joined(item),
            None => item,
        };
        log.insert(item.last, item);
        Ok(())
    }

    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        since_ms: i64,
    ) -> PortResult<Vec<LaneItem>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let logs = self.logs.lock();
        let items = logs
            .get(shard)
            .into_iter()
            .flat_map(|log| log.range((from, Bound::Unbounded)));
        let young = items.filter(|(_, item)| item.last_arrival_ms >= since_ms);
        Ok(young.map(|(_, item)| item.clone()).collect())
    }

    async fn expire(&self, shard: &ShardId, up_to: SequenceNumber, before_ms: i64) -> PortResult<usize> {
        let mut logs = self.logs.lock();
        let Some(log) = logs.get_mut(shard) else {
            return Ok(0);
        };
        let before = log.len();
        log.retain(|last, item| *last > up_to || item.last_arrival_ms >= before_ms);
        Ok(before - log.len())
    }
}
