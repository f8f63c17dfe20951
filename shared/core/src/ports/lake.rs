//! The raw lake: every record, as it came.

use async_trait::async_trait;

use super::PortResult;
use super::stream::StreamRecord;
use crate::domain::bucket::ShardId;

/// Appending to the lake, where no delivery service does it. Recounting comes with sealing.
#[async_trait]
pub trait RawLake: Send + Sync {
    /// Appends a shard's records under the hour of arrival of the oldest of them. `Ok` means durable. A record may come
    /// twice (a batch whose answer was lost is appended again).
    async fn append(&self, shard: &ShardId, records: &[StreamRecord]) -> PortResult<()>;
}
