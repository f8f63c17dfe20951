//! The spill: clicks that could not be published yet.

use async_trait::async_trait;

use super::PortResult;
use super::stream::Outgoing;

/// A spilled click, as received for settling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spilled {
    /// Names this receipt, for [`Spill::settled`].
    pub receipt: String,
    /// What is to be published, with the partition key that it was first put with.
    pub record: Outgoing,
}

/// A queue that delivers at least once.
#[async_trait]
pub trait Spill: Send + Sync {
    /// Keeps a record until it is settled. `Ok` means durable.
    async fn keep(&self, record: Outgoing) -> PortResult<()>;
    /// Up to `limit` records to be settled, hidden from other receivers for `hidden_ms`.
    async fn receive(&self, limit: usize, now_ms: i64, hidden_ms: u64) -> PortResult<Vec<Spilled>>;
    /// The record is on the stream: forget it.
    async fn settled(&self, receipt: &str) -> PortResult<()>;
}
