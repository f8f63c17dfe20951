//! Buckets under faults, each write by itself.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Bucket, Committed, PartialWrite};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::{BucketStore, MinuteTotals, PortError, PortResult};

use super::faults::is_answer;

super::wrapper!(
    /// [`BucketStore`] under faults. The writes of one call take effect one by one in any order, and each has its own fate:
    /// a crash may fall between them.
    FaultyBuckets, BucketStore
);

async fn commit(port: Arc<dyn BucketStore>, write: PartialWrite) -> PortResult<Committed> {
    let mut outcomes = port.commit(vec![write]).await;
    outcomes
        .pop()
        .unwrap_or_else(|| Err(PortError::ambiguous("no outcome")))
}

#[async_trait]
impl BucketStore for FaultyBuckets {
    async fn commit(&self, writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>> {
        let mut writes: Vec<_> = writes.into_iter().enumerate().collect();
        // From an order of their own, not the caller's, which a hash map may have decided: only the seed decides here.
        writes.sort_by_key(|(_, write)| (write.key, write.last));
        self.faults.shuffle(&mut writes);
        let mut outcomes = Vec::with_capacity(writes.len());
        self.faults.before().await;
        for (place, write) in writes {
            if !outcomes.is_empty() {
                self.faults.between().await;
            }
            let effect = commit(Arc::clone(&self.port), write);
            outcomes.push((place, self.faults.strike(effect).await));
        }
        self.faults
            .after(outcomes.iter().all(|(_, outcome)| is_answer(outcome)))
            .await;
        outcomes.sort_unstable_by_key(|(place, _)| *place);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    async fn read(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<Bucket>> {
        self.faults.read(self.port.read(entity, from, to)).await
    }

    async fn read_totals(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<MinuteTotals>> {
        self.faults.read(self.port.read_totals(entity, from, to)).await
    }

    async fn forget(&self, hour: Hour, entities: &[Entity]) -> PortResult<()> {
        let (port, entities) = (Arc::clone(&self.port), entities.to_vec());
        self.faults
            .write(async move { port.forget(hour, &entities).await })
            .await
    }
}
