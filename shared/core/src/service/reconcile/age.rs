//! Growing old: hours are closed, what nobody reads any more is forgotten.
//!
//! Invariant: partials go only after their hour was sealed; an old version goes only when the one that took its place has
//! been visible for a while.

use std::ops::Range;

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
        let oldest = Hour::of(cut_ms - self.config.history_ms);
        let hours = self.ports.manifests.hours(oldest, Hour::of(cut_ms)).await?;
        self.close(&hours, cut_ms).await?;
        let sealed: Vec<&Manifest> = hours.iter().filter(|hour| hour.is_sealed()).collect();
        self.forget_partials(&sealed, since_ms..cut_ms).await?;
        self.forget_versions(&sealed, since_ms..cut_ms).await
    }

    async fn close(&self, hours: &[Manifest], cut_ms: i64) -> PortResult<()> {
        let to = Hour::of(cut_ms - self.config.close_after_ms);
        // Those that were disputed or open when they came of age are closed once they are sealed.
        let of_age = hours.iter().filter(|hour| hour.hour < to);
        for manifest in of_age.filter(|hour| hour.state == HourState::Sealed) {
            let closed = Manifest {
                state: HourState::Closed,
                ..manifest.clone()
            };
            // Refused: somebody is sealing it, and it is closed tomorrow.
            self.ports.manifests.flip(&closed).await?;
        }
        Ok(())
    }

    /// Those of hours that have come of age since the last run, and of older ones that were sealed since.
    async fn forget_partials(&self, sealed: &[&Manifest], run: Range<i64>) -> PortResult<()> {
        let of_age = |at_ms: i64| Hour::of(at_ms - self.config.keep_partials_ms);
        let (from, to) = (of_age(run.start), of_age(run.end));
        // A run's clock may be behind another's.
        let sealed_since_ms = run.start - self.config.slack_ms;
        let due =
            |hour: &&&Manifest| hour.hour < to && (hour.hour >= from || hour.sealed_at_ms >= sealed_since_ms);
        for manifest in sealed.iter().filter(due) {
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
    async fn forget_versions(&self, sealed: &[&Manifest], run: Range<i64>) -> PortResult<()> {
        let grace_ms = self.config.keep_versions_ms;
        let shown = run.start - grace_ms..run.end - grace_ms;
        for manifest in sealed.iter().filter(|hour| shown.contains(&hour.sealed_at_ms)) {
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
