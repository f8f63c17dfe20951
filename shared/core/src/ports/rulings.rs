//! Rulings on single clicks.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::ids::ClickId;
use crate::domain::ruling::{Ruling, RulingKind};
use crate::domain::time::Hour;

/// Put-if-absent by click and kind; kept for good.
#[async_trait]
pub trait Rulings: Send + Sync {
    /// Puts the ruling if its click has none of its kind; answers what stands now. Strongly consistent.
    async fn rule(&self, ruling: Ruling) -> PortResult<Ruling>;
    /// The rulings of an hour (see [`Ruling`]) in the order of clicks and kinds, after `after`, at most `limit`.
    async fn of_hour(
        &self,
        hour: Hour,
        after: Option<(ClickId, RulingKind)>,
        limit: usize,
    ) -> PortResult<Vec<Ruling>>;
}
