//! The raw lake under faults.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::ports::{PortResult, RawLake, StreamRecord};

super::wrapper!(
    /// [`RawLake`] under faults. With `twice` a batch is appended twice.
    FaultyLake, RawLake
);

#[async_trait]
impl RawLake for FaultyLake {
    async fn append(&self, shard: &ShardId, records: &[StreamRecord]) -> PortResult<()> {
        let (port, shard, records) = (Arc::clone(&self.port), shard.clone(), records.to_vec());
        let faults = self.faults.clone();
        let effect = async move {
            port.append(&shard, &records).await?;
            if faults.is_twice() {
                drop(port.append(&shard, &records).await);
            }
            Ok(())
        };
        self.faults.write(effect).await
    }
}
