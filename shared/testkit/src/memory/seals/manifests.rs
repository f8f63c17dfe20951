//! Manifests, and the conditional changes of them.

use async_trait::async_trait;
use clickledger_core::domain::manifest::{DayManifest, Manifest};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::{Manifests, PortResult};

use super::MemorySeals;

#[async_trait]
impl Manifests for MemorySeals {
    async fn hours(&self, from: Hour, to: Hour) -> PortResult<Vec<Manifest>> {
        let mut found = self.all_manifests();
        found.retain(|manifest| (from..to).contains(&manifest.hour));
        Ok(found)
    }

    async fn days(&self, from: Day, to: Day) -> PortResult<Vec<DayManifest>> {
        let mut found = self.all_days();
        found.retain(|manifest| (from..to).contains(&manifest.day));
        Ok(found)
    }

    async fn flip(&self, new: &Manifest) -> PortResult<bool> {
        let mut state = self.state.lock();
        let stored = state.manifests.get(&new.hour).cloned();
        let stored = stored.unwrap_or_else(|| Manifest::open(new.hour));
        let flipped = Manifest {
            revision: new.revision + 1,
            marks: stored.marks,
            quarantined: stored.quarantined,
            ..new.clone()
        };
        if stored.revision != new.revision {
            // An earlier try of this very call may have been applied.
            return Ok(stored == flipped);
        }
        if stored.sets_day_aside(&flipped) {
            state.set_aside(flipped.hour.day());
        }
        state.manifests.insert(flipped.hour, flipped);
        Ok(true)
    }

    async fn flip_day(&self, day: Day, generation: u64, version: u64) -> PortResult<bool> {
        let mut state = self.state.lock();
        let stored = state.days.get(&day).copied();
        let stored = stored.unwrap_or_else(|| DayManifest::open(day));
        let flips = stored.generation == generation && stored.version <= version;
        if flips {
            state.days.insert(day, DayManifest { version, ..stored });
        }
        Ok(flips)
    }
}
