//! What waits and what was put away, for operators.

use async_trait::async_trait;

use super::PortResult;

/// What waits to be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records that wait, those included that somebody is settling; nearly so where a service only counts nearly.
    pub waiting: u64,
    /// When the oldest was clicked, Unix milliseconds; `None` where nothing waits or this store cannot tell.
    pub oldest_ms: Option<i64>,
}

/// Looks at the pipeline's parts and changes nothing.
#[async_trait]
pub trait Gauges: Send + Sync {
    /// What waits in the spill.
    async fn spill(&self) -> PortResult<Backlog>;
    /// How much was put into quarantine between these times (Unix milliseconds; a store that does not know when may go by its
    /// own clock and by the day of arrival); at `most` it may stop counting.
    async fn quarantined(&self, from_ms: i64, to_ms: i64, most: u64) -> PortResult<u64>;
}
