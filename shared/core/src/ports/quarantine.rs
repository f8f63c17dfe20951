//! Quarantine: what can never be counted, kept with the reason.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::bucket::ShardId;
use crate::domain::sequence::SequenceNumber;

/// What is put away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its shard.
    pub shard: ShardId,
    /// Its (or, of a delta, its first record's) place in the shard.
    pub sequence_number: SequenceNumber,
    /// When it arrived, Unix milliseconds.
    pub arrived_at_ms: i64,
    /// Why.
    pub reason: String,
    /// The bytes as they came; of a delta, its description.
    pub bytes: Vec<u8>,
}

/// Keeps what can't be parsed or written. Putting the same thing away twice keeps it once or twice, never not at all.
#[async_trait]
pub trait Quarantine: Send + Sync {
    /// Keeps it. `Ok` means durable.
    async fn keep(&self, item: Quarantined) -> PortResult<()>;
}
