//! Sealing days: a UTC day whose hours are all sealed, by the quarter-hour.
//!
//! Invariant: a day is made of the versions that its hours had when its generation was read, and becomes visible only if that
//! generation still stands.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Reconcile, each};
use crate::domain::entity::Entity;
use crate::domain::manifest::{DayManifest, HourState, Manifest};
use crate::domain::mutation::Broken;
use crate::domain::sealed::SealedDay;
use crate::domain::time::{Day, Hour};
use crate::ports::{Job, Lease, PortResult};

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    version: u64,
    generation: u64,
    /// So many entities are written, in their order.
    written: usize,
}

/// Entities of one step.
const STEP: usize = 500;

impl Reconcile {
    /// Seals the days up to this time that can be sealed and are not.
    pub(super) async fn seal_days(&self, to_ms: i64) -> PortResult<()> {
        let from = Day::of(to_ms - self.config.catch_up_ms);
        self.seal_days_of(from, Day(Day::of(to_ms).0 + 1)).await
    }

    /// The same for the days in `from..to`.
    pub(super) async fn seal_days_of(&self, from: Day, to: Day) -> PortResult<()> {
        let stored = self.ports.manifests.days(from, to).await?;
        for day in (from.0..to.0).map(Day) {
            let manifest = stored.iter().find(|stored| stored.day == day);
            let again = manifest.is_some_and(|manifest| manifest.generation > 24);
            if again && self.mutation.is(Broken::DayKept) {
                continue;
            }
            // None of its hours is sealed, or it is sealed as it stands.
            if manifest.is_some_and(|manifest| manifest.version == 0) {
                self.seal_day(day).await?;
            }
        }
        Ok(())
    }

    async fn day(&self, day: Day) -> PortResult<DayManifest> {
        let stored = self.ports.manifests.days(day, Day(day.0 + 1)).await?;
        Ok(stored.first().copied().unwrap_or_else(|| DayManifest::open(day)))
    }

    /// The day's hours, if all are settled.
    async fn settled_hours(&self, day: Day) -> PortResult<Option<Vec<Manifest>>> {
        let (first, next) = (day.first_hour(), Day(day.0 + 1).first_hour());
        let hours = self.ports.manifests.hours(first, next).await?;
        let settled = |hour: &Manifest| {
            let stands = matches!(hour.state, HourState::Sealed | HourState::Closed);
            hour.is_sealed() && stands && !hour.is_provisional()
        };
        let all = hours.len() == day.hours().count() && hours.iter().all(settled);
        Ok(all.then_some(hours))
    }

    async fn seal_day(&self, day: Day) -> PortResult<()> {
        // Cheap, and mostly so: a day is not over until it is.
        if self.settled_hours(day).await?.is_none() {
            return Ok(());
        }
        let Some(lease) = self.take(Job::Day(day)).await? else {
            return Ok(());
        };
        let mut progress = lease
            .note
            .as_deref()
            .and_then(|note| serde_json::from_str(note).ok());
        let sealed = self.write_day(day, &lease, &mut progress).await;
        let note = match &sealed {
            Ok(()) => None,
            Err(_) => progress.and_then(|note| serde_json::to_string(&note).ok()),
        };
        self.release(&lease, note.as_deref()).await;
        sealed
    }

    async fn write_day(&self, day: Day, lease: &Lease, progress: &mut Option<Note>) -> PortResult<()> {
        // Read before the hours: whatever changes them afterwards changes it.
        let manifest = self.day(day).await?;
        let Some(hours) = self.settled_hours(day).await? else {
            return Ok(());
        };
        let mut note = match *progress {
            Some(note) if note.generation == manifest.generation => note,
            _ => Note {
                version: lease.fence,
                generation: manifest.generation,
                written: 0,
            },
        };
        let mut entities: BTreeSet<Entity> = BTreeSet::new();
        for hour in hours.iter().filter(|hour| hour.lake.clicks > 0) {
            entities.extend(self.sealed_entities(hour.hour, hour.version).await?);
        }
        let entities: Vec<Entity> = entities.into_iter().collect();
        for some in entities.get(note.written..).unwrap_or_default().chunks(STEP) {
            let calls = some
                .iter()
                .map(|entity| self.of_hours(*entity, day, note.version, &hours));
            let items = each(calls.collect(), self.config.at_once).await?;
            self.ports
                .counts
                .write_days(items.into_iter().flatten().collect())
                .await?;
            note.written += some.len();
            *progress = Some(note);
            let text = serde_json::to_string(&note).ok();
            if !self
                .ports
                .leases
                .keep(lease, self.until_ms(), text.as_deref())
                .await?
            {
                return Ok(());
            }
        }
        if self
            .ports
            .manifests
            .flip_day(day, note.generation, note.version)
            .await?
        {
            while self
                .ports
                .counts
                .forget_days(day, note.version, note.version, STEP)
                .await?
                > 0
            {}
        }
        Ok(())
    }

    async fn of_hours(
        &self,
        entity: Entity,
        day: Day,
        version: u64,
        hours: &[Manifest],
    ) -> PortResult<Option<SealedDay>> {
        let (first, next) = (day.first_hour(), Day(day.0 + 1).first_hour());
        let mut items = self.ports.counts.read_hours(entity, first, next).await?;
        let visible = |hour: Hour, version: u64| {
            hours
                .iter()
                .any(|manifest| manifest.hour == hour && manifest.version == version)
        };
        items.retain(|item| visible(item.hour, item.version));
        items.sort_by_key(|item| item.hour);
        Ok(SealedDay::of_hours(entity, day, version, &items))
    }
}
