//! The hours' states.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::time::Hour;

/// The hours' manifests.
#[async_trait]
pub trait SealStore: Send + Sync {
    /// Notes that these hours hold clicks that live counting left out (late, or not writable): sealing must count them. Where
    /// readers see a sealed hour that may change for it
    /// ([`is_provisional`](crate::domain::manifest::Manifest::is_provisional)), its day is set aside, as by a
    /// [`flip`](super::Manifests::flip): it would say that it is final.
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()>;
    /// The same of one hour whose counts live counting put into quarantine.
    async fn mark_quarantined(&self, hour: Hour) -> PortResult<()>;
    /// The hours in `from..to` that are marked dirty and not sealed since, in order.
    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>>;
}
