//! Claims: that an impression's one valid click is taken, and by which click.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::ids::{ClickId, ImpressionId};

/// What is claimed, by whom, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The impression.
    pub impression_id: ImpressionId,
    /// The click that wants it.
    pub click_id: ClickId,
    /// When the claim may be forgotten, Unix milliseconds. Compared on read: a store may forget later, never earlier.
    pub expires_ms: i64,
}

/// Whose the impression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Ours: newly, or since an earlier try whose answer was lost.
    First,
    /// This other click's.
    DuplicateOf(ClickId),
}

/// Put-if-absent on the impression id.
///
/// Contract: of any number of calls for one impression, also concurrent ones, all name the same owner until it expires;
/// a repeated call of the owner answers [`Claimed::First`] again.
#[async_trait]
pub trait ClaimStore: Send + Sync {
    /// Claims, or says who has. `now_ms` decides which stored claims have expired.
    async fn claim(&self, claim: Claim, now_ms: i64) -> PortResult<Claimed>;
    /// Forgets claims that expired before `now_ms`, at most `limit`; says how many. A store with expiry of its own does
    /// nothing.
    async fn purge(&self, now_ms: i64, limit: usize) -> PortResult<usize>;
}
