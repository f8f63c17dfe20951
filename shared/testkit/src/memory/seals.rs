//! All that sealing stores: marks and manifests, leases, counts under versions, rulings, corrections and reports.
//!
//! One store for these ports, because a mark lies in its hour's manifest and a flip changes its day's.

mod leases;
mod manifests;
mod reports;
mod rulings;
mod sealed_counts;

use std::collections::BTreeMap;

use async_trait::async_trait;
use clickledger_core::domain::correction::{Correction, HourReport};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::manifest::{DayManifest, Manifest};
use clickledger_core::domain::ruling::{Ruling, RulingKind};
use clickledger_core::domain::sealed::{SealedDay, SealedHour};
use clickledger_core::domain::time::{Day, Hour, Minute};
use clickledger_core::ports::{Job, PortResult, SealStore};

use self::leases::StoredLease;
use super::Held;

/// [`SealStore`], [`Manifests`](clickledger_core::ports::Manifests), [`Leases`](clickledger_core::ports::Leases),
/// [`SealedCounts`](clickledger_core::ports::SealedCounts), [`Rulings`](clickledger_core::ports::Rulings) and
/// [`SealReports`](clickledger_core::ports::SealReports) in memory.
#[derive(Debug, Clone, Default)]
pub struct MemorySeals {
    state: Held<State>,
}

#[derive(Debug, Default)]
struct State {
    manifests: BTreeMap<Hour, Manifest>,
    days: BTreeMap<Day, DayManifest>,
    leases: BTreeMap<Job, StoredLease>,
    /// By entity, hour and version; with the slice that wrote it.
    hours: BTreeMap<(Entity, Hour, u64), (u32, SealedHour)>,
    /// By entity, day and version.
    sealed_days: BTreeMap<(Entity, Day, u64), SealedDay>,
    /// By the hour that they belong to.
    rulings: BTreeMap<(Hour, ClickId, RulingKind), Ruling>,
    corrections: BTreeMap<(Hour, u64, Entity, Minute), Correction>,
    reports: BTreeMap<(Hour, i64), HourReport>,
}

impl State {
    /// `quarantined` is 1 where it is for counts in quarantine.
    fn mark(&mut self, hour: Hour, quarantined: u64) {
        let manifest = self.manifests.entry(hour).or_insert_with(|| Manifest::open(hour));
        manifest.marks += 1;
        manifest.quarantined += quarantined;
        if manifest.is_provisional() {
            self.set_aside(hour.day());
        }
    }

    /// Readers take the day's counts from its hours from now on.
    fn set_aside(&mut self, day: Day) {
        let day = self.days.entry(day).or_insert_with(|| DayManifest::open(day));
        day.version = 0;
        day.generation += 1;
    }
}

impl MemorySeals {
    /// Every dirty hour, in order.
    pub fn all_dirty(&self) -> Vec<Hour> {
        let state = self.state.lock();
        let dirty = state.manifests.values().filter(|manifest| manifest.is_dirty());
        dirty.map(|manifest| manifest.hour).collect()
    }

    /// Whether this hour is dirty.
    pub fn is_dirty(&self, hour: Hour) -> bool {
        self.state
            .lock()
            .manifests
            .get(&hour)
            .is_some_and(Manifest::is_dirty)
    }

    /// Every stored manifest, in order.
    pub fn all_manifests(&self) -> Vec<Manifest> {
        self.state.lock().manifests.values().cloned().collect()
    }

    /// Every stored day manifest, in order.
    pub fn all_days(&self) -> Vec<DayManifest> {
        self.state.lock().days.values().copied().collect()
    }

    /// Every sealed hour of every version, in the order of entities, hours and versions.
    pub fn all_sealed_hours(&self) -> Vec<SealedHour> {
        let state = self.state.lock();
        state.hours.values().map(|(_, item)| item.clone()).collect()
    }

    /// Every sealed day of every version, in the order of entities, days and versions.
    pub fn all_sealed_days(&self) -> Vec<SealedDay> {
        self.state.lock().sealed_days.values().cloned().collect()
    }

    /// Every ruling, by hour, click and kind.
    pub fn all_rulings(&self) -> Vec<Ruling> {
        self.state.lock().rulings.values().copied().collect()
    }

    /// Every correction with its hour, by hour, version, entity and minute.
    pub fn all_corrections(&self) -> Vec<(Hour, Correction)> {
        let state = self.state.lock();
        let all = state.corrections.iter();
        all.map(|((hour, ..), correction)| (*hour, correction.clone()))
            .collect()
    }

    /// Every report, by hour and time.
    pub fn all_reports(&self) -> Vec<HourReport> {
        self.state.lock().reports.values().cloned().collect()
    }
}

#[async_trait]
impl SealStore for MemorySeals {
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()> {
        let mut state = self.state.lock();
        for hour in hours {
            state.mark(*hour, 0);
        }
        Ok(())
    }

    async fn mark_quarantined(&self, hour: Hour) -> PortResult<()> {
        self.state.lock().mark(hour, 1);
        Ok(())
    }

    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>> {
        let mut dirty = self.all_dirty();
        dirty.retain(|hour| (from..to).contains(hour));
        Ok(dirty)
    }
}
