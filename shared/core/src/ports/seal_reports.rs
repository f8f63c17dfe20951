//! Corrections and reports.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::correction::{Correction, HourReport};
use crate::domain::entity::Entity;
use crate::domain::time::{Hour, Minute};

/// What sealing changed and found; kept.
#[async_trait]
pub trait SealReports: Send + Sync {
    /// Keeps corrections of one hour; one of the same version, entity and minute is replaced.
    async fn correct(&self, hour: Hour, corrections: &[Correction]) -> PortResult<()>;
    /// An hour's corrections in the order of versions, entities and minutes, after `after`, at most `limit`.
    async fn corrections(
        &self,
        hour: Hour,
        after: Option<(u64, Entity, Minute)>,
        limit: usize,
    ) -> PortResult<Vec<Correction>>;
    /// Keeps a report; one of the same hour and time is replaced.
    async fn report(&self, report: &HourReport) -> PortResult<()>;
    /// The reports of the hours in `from..to`, in the order of hours and times, after `after` (hour and time), at most
    /// `limit`.
    async fn reports(
        &self,
        from: Hour,
        to: Hour,
        after: Option<(Hour, i64)>,
        limit: usize,
    ) -> PortResult<Vec<HourReport>>;
}
