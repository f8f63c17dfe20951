//! The hours' states.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::time::Hour;

/// The hours' manifests.
#[async_trait]
pub trait SealStore: Send + Sync {
    /// Notes that these hours hold clicks that live counting left out (late, or not writable): sealing must count them.
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()>;
    /// The hours in `from..to` that are marked dirty and not sealed since, in order.
    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>>;
}
