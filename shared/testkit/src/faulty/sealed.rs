//! Sealed counts, corrections and reports under faults.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::correction::{Correction, HourReport};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::domain::sealed::{SealedDay, SealedHour};
use clickledger_core::domain::time::{Day, Hour, Minute};
use clickledger_core::ports::{PortResult, SealReports, SealedCounts, SealedDayTotals, SealedHourTotals};

super::wrapper!(
    /// [`SealedCounts`] under faults.
    FaultySealedCounts, SealedCounts
);

#[async_trait]
impl SealedCounts for FaultySealedCounts {
    async fn write_hours(
        &self,
        hour: Hour,
        version: u64,
        slice: u32,
        items: Vec<SealedHour>,
    ) -> PortResult<()> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.write_hours(hour, version, slice, items).await })
            .await
    }

    async fn entities(
        &self,
        hour: Hour,
        version: u64,
        after: Option<Entity>,
        limit: usize,
    ) -> PortResult<Vec<Entity>> {
        self.faults
            .read(self.port.entities(hour, version, after, limit))
            .await
    }

    async fn read_hours(&self, entity: Entity, from: Hour, to: Hour) -> PortResult<Vec<SealedHour>> {
        self.faults.read(self.port.read_hours(entity, from, to)).await
    }

    async fn read_hour_totals(
        &self,
        entity: Entity,
        from: Hour,
        to: Hour,
    ) -> PortResult<Vec<SealedHourTotals>> {
        self.faults
            .read(self.port.read_hour_totals(entity, from, to))
            .await
    }

    async fn placements(
        &self,
        advertiser: AdvertiserId,
        from: Hour,
        to: Hour,
        after: Option<PlacementId>,
        limit: usize,
    ) -> PortResult<Vec<PlacementId>> {
        self.faults
            .read(self.port.placements(advertiser, from, to, after, limit))
            .await
    }

    async fn write_days(&self, items: Vec<SealedDay>) -> PortResult<()> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.write_days(items).await })
            .await
    }

    async fn read_days(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDay>> {
        self.faults.read(self.port.read_days(entity, from, to)).await
    }

    async fn read_day_totals(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDayTotals>> {
        self.faults
            .read(self.port.read_day_totals(entity, from, to))
            .await
    }

    async fn forget_hours(&self, hour: Hour, below: u64, keep: &[u64], limit: usize) -> PortResult<usize> {
        let (port, keep) = (Arc::clone(&self.port), keep.to_vec());
        self.faults
            .write(async move { port.forget_hours(hour, below, &keep, limit).await })
            .await
    }

    async fn forget_days(&self, day: Day, below: u64, keep: u64, limit: usize) -> PortResult<usize> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.forget_days(day, below, keep, limit).await })
            .await
    }
}

super::wrapper!(
    /// [`SealReports`] under faults.
    FaultySealReports, SealReports
);

#[async_trait]
impl SealReports for FaultySealReports {
    async fn correct(&self, hour: Hour, corrections: &[Correction]) -> PortResult<()> {
        let (port, corrections) = (Arc::clone(&self.port), corrections.to_vec());
        self.faults
            .write(async move { port.correct(hour, &corrections).await })
            .await
    }

    async fn corrections(
        &self,
        hour: Hour,
        after: Option<(u64, Entity, Minute)>,
        limit: usize,
    ) -> PortResult<Vec<Correction>> {
        self.faults.read(self.port.corrections(hour, after, limit)).await
    }

    async fn report(&self, report: &HourReport) -> PortResult<()> {
        let (port, report) = (Arc::clone(&self.port), report.clone());
        self.faults.write(async move { port.report(&report).await }).await
    }

    async fn reports(
        &self,
        from: Hour,
        to: Hour,
        after: Option<(Hour, i64)>,
        limit: usize,
    ) -> PortResult<Vec<HourReport>> {
        self.faults.read(self.port.reports(from, to, after, limit)).await
    }
}
