//! Leases, manifests and rulings under faults.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::manifest::{DayManifest, Manifest};
use clickledger_core::domain::ruling::{Ruling, RulingKind};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::{Job, Lease, Leases, Manifests, PortResult, Rulings};

super::wrapper!(
    /// [`Leases`] under faults. A late change is judged by the time that its caller gave.
    FaultyLeases, Leases
);

#[async_trait]
impl Leases for FaultyLeases {
    async fn take(&self, job: Job, holder: &str, now_ms: i64, until_ms: i64) -> PortResult<Option<Lease>> {
        let (port, holder) = (Arc::clone(&self.port), holder.to_owned());
        self.faults
            .write(async move { port.take(job, &holder, now_ms, until_ms).await })
            .await
    }

    async fn keep(&self, lease: &Lease, until_ms: i64, note: Option<&str>) -> PortResult<bool> {
        let (port, lease, note) = (Arc::clone(&self.port), lease.clone(), note.map(str::to_owned));
        self.faults
            .write(async move { port.keep(&lease, until_ms, note.as_deref()).await })
            .await
    }

    async fn release(&self, lease: &Lease, note: Option<&str>) -> PortResult<()> {
        let (port, lease, note) = (Arc::clone(&self.port), lease.clone(), note.map(str::to_owned));
        self.faults
            .write(async move { port.release(&lease, note.as_deref()).await })
            .await
    }

    async fn note(&self, job: Job) -> PortResult<Option<String>> {
        self.faults.read(self.port.note(job)).await
    }
}

super::wrapper!(
    /// [`Manifests`] under faults.
    FaultyManifests, Manifests
);

#[async_trait]
impl Manifests for FaultyManifests {
    async fn hours(&self, from: Hour, to: Hour) -> PortResult<Vec<Manifest>> {
        self.faults.read(self.port.hours(from, to)).await
    }

    async fn days(&self, from: Day, to: Day) -> PortResult<Vec<DayManifest>> {
        self.faults.read(self.port.days(from, to)).await
    }

    async fn flip(&self, new: &Manifest) -> PortResult<bool> {
        let (port, new) = (Arc::clone(&self.port), new.clone());
        self.faults.write(async move { port.flip(&new).await }).await
    }

    async fn flip_day(&self, day: Day, generation: u64, version: u64) -> PortResult<bool> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.flip_day(day, generation, version).await })
            .await
    }
}

super::wrapper!(
    /// [`Rulings`] under faults.
    FaultyRulings, Rulings
);

#[async_trait]
impl Rulings for FaultyRulings {
    async fn rule(&self, ruling: Ruling) -> PortResult<Ruling> {
        let port = Arc::clone(&self.port);
        self.faults.write(async move { port.rule(ruling).await }).await
    }

    async fn of_hour(
        &self,
        hour: Hour,
        after: Option<(ClickId, RulingKind)>,
        limit: usize,
    ) -> PortResult<Vec<Ruling>> {
        self.faults.read(self.port.of_hour(hour, after, limit)).await
    }
}
