//! Growing old: hours are closed, what nobody reads any more is forgotten.
//!
//! Invariant: partials go only after their hour was sealed; an old version goes only when the one that took its place has
//! been visible for a while.

use super::Reconcile;
use crate::domain::entity::Entity;
use crate::domain::manifest::{HourState, Manifest};
use crate::domain::time::Hour;
use crate::ports::PortResult;

/// Items that one call forgets.
const STEP: usize = 500;

impl Reconcile {
    /// What a daily run of this cut does about age, the last one's cut being `since_ms`.
    pub(super) async fn grow_old(&self, since_ms: i64, cut_ms: i64) -> PortResult<()> {
        self.close(cut_ms).await?;
        self.forget_partials(since_ms, cut_ms).await?;
        self.forget_versions(since_ms, cut_ms).await
    }

    async fn close(&self, cut_ms: i64) -> PortResult<()> {
        let to = Hour::of(cut_ms - self.config.close_after_ms);
        // Those that were disputed or open when they came of age are closed when they are sealed at last.
        let from = Hour::of(cut_ms - self.config.close_after_ms - self.config.catch_up_ms);
        for manifest in self.ports.manifests.hours(from, to).await? {
            if manifest.state == HourState::Sealed {
                let closed = Manifest {
                    state: HourState::Closed,
                    ..manifest
                };
                // Refused: somebody is sealing it, and it is closed tomorrow.
                self.ports.manifests.flip(&closed).await?;
            }
        }
        Ok(())
    }

    async fn forget_partials(&self, since_ms: i64, cut_ms: i64) -> PortResult<()> {
        let from = Hour::of(since_ms - self.config.keep_partials_ms);
        let to = Hour::of(cut_ms - self.config.keep_partials_ms);
        for manifest in self.ports.manifests.hours(from, to).await? {
            if !manifest.is_sealed() {
                continue;
            }
            let entities = self.sealed_entities(manifest.hour, manifest.version).await?;
            let entities: Vec<Entity> = entities
                .into_iter()
                .filter(|entity| entity.is_counted_live())
                .collect();
            for some in entities.chunks(STEP) {
                self.ports.buckets.forget(manifest.hour, some).await?;
            }
        }
        Ok(())
    }

    /// Versions behind those that became visible since the last run; each change of an hour is followed by this once.
    async fn forget_versions(&self, since_ms: i64, cut_ms: i64) -> PortResult<()> {
        let grace_ms = self.config.keep_versions_ms;
        let from = Hour::of(cut_ms - self.config.catch_up_ms - self.config.close_after_ms);
        for manifest in self.ports.manifests.hours(from, Hour::of(cut_ms)).await? {
            if !(since_ms - grace_ms..cut_ms - grace_ms).contains(&manifest.sealed_at_ms) {
                continue;
            }
            let (hour, version) = (manifest.hour, manifest.version);
            let counts = &self.ports.counts;
            while counts
                .forget_hours(hour, version, &[version, manifest.adjusted], STEP)
                .await?
                > 0
            {}
        }
        Ok(())
    }
}
