//! The sealed side of a deployment that seals nothing: all of its counts are partials.
//!
//! Invariant: no hour is sealed, so nothing is ever kept here.

use std::sync::Arc;

use async_trait::async_trait;

use super::source::CountStores;
use crate::domain::entity::Entity;
use crate::domain::ids::{AdvertiserId, PlacementId};
use crate::domain::manifest::{DayManifest, Manifest};
use crate::domain::sealed::{SealedDay, SealedHour};
use crate::domain::time::{Day, Hour};
use crate::ports::{
    BucketStore, Manifests, PortError, PortResult, SealedCounts, SealedDayTotals, SealedHourTotals,
};

struct NothingSealed;

impl CountStores {
    /// For a deployment that seals nothing.
    pub fn unsealed(buckets: Arc<dyn BucketStore>) -> Self {
        Self {
            buckets,
            manifests: Arc::new(NothingSealed),
            sealed: Arc::new(NothingSealed),
        }
    }
}

fn refused() -> PortError {
    PortError::rejected("nothing is sealed here")
}

#[async_trait]
impl Manifests for NothingSealed {
    async fn hours(&self, _: Hour, _: Hour) -> PortResult<Vec<Manifest>> {
        Ok(Vec::new())
    }
    async fn days(&self, _: Day, _: Day) -> PortResult<Vec<DayManifest>> {
        Ok(Vec::new())
    }
    async fn flip(&self, _: &Manifest) -> PortResult<bool> {
        Err(refused())
    }
    async fn flip_day(&self, _: Day, _: u64, _: u64) -> PortResult<bool> {
        Err(refused())
    }
}

#[async_trait]
impl SealedCounts for NothingSealed {
    async fn write_hours(&self, _: Hour, _: u64, _: u32, _: Vec<SealedHour>) -> PortResult<()> {
        Err(refused())
    }
    async fn entities(&self, _: Hour, _: u64, _: Option<Entity>, _: usize) -> PortResult<Vec<Entity>> {
        Ok(Vec::new())
    }
    async fn read_hours(&self, _: Entity, _: Hour, _: Hour) -> PortResult<Vec<SealedHour>> {
        Ok(Vec::new())
    }
    async fn read_hour_totals(&self, _: Entity, _: Hour, _: Hour) -> PortResult<Vec<SealedHourTotals>> {
        Ok(Vec::new())
    }
    async fn placements(
        &self,
        _: AdvertiserId,
        _: Hour,
        _: Hour,
        _: Option<PlacementId>,
        _: usize,
    ) -> PortResult<Vec<PlacementId>> {
        Ok(Vec::new())
    }
    async fn write_days(&self, _: Vec<SealedDay>) -> PortResult<()> {
        Err(refused())
    }
    async fn read_days(&self, _: Entity, _: Day, _: Day) -> PortResult<Vec<SealedDay>> {
        Ok(Vec::new())
    }
    async fn read_day_totals(&self, _: Entity, _: Day, _: Day) -> PortResult<Vec<SealedDayTotals>> {
        Ok(Vec::new())
    }
    async fn forget_hours(&self, _: Hour, _: u64, _: &[u64], _: usize) -> PortResult<usize> {
        Ok(0)
    }
    async fn forget_days(&self, _: Day, _: u64, _: u64, _: usize) -> PortResult<usize> {
        Ok(0)
    }
}
