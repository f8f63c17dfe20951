//! Writing a recount under its version, slice by slice, and making it visible.
//!
//! Invariant: a slice is noted only after its items and corrections are written, and the manifest is flipped only after the
//! last one.

use super::Reconcile;
use super::compare::{Difference, Evidence, compare};
use super::note::Progress;
use super::seal::{Going, Went};
use super::settled::Settled;
use super::survey::{Survey, Vanished, after, differences, place, told};
use crate::domain::correction::{Correction, Outcome};
use crate::domain::entity::Entity;
use crate::domain::manifest::{HourState, Manifest};
use crate::domain::mutation::Broken;
use crate::domain::sealed::SealedHour;
use crate::domain::time::Minute;
use crate::ports::PortResult;

/// A slice, worked out.
#[derive(Default)]
struct Written {
    items: Vec<SealedHour>,
    corrections: Vec<Correction>,
    lost: Option<String>,
    next: u64,
    last: bool,
}

impl Reconcile {
    /// Writes what is not written yet, and flips.
    pub(super) async fn write(
        &self,
        going: &Going<'_>,
        settled: &Settled,
        survey: Survey,
        progress: &mut Option<Progress>,
    ) -> PortResult<Went> {
        let Some(at) = progress.as_mut() else {
            return Ok(Went::Anew("nothing was counted"));
        };
        let survey = Survey {
            lake: at.lake,
            counted: at.counted,
            ..survey
        };
        let accept = going.asked.accept || self.mutation.is(Broken::DisputeIgnored);
        while !at.written {
            let Some(mut slice) = self.work_out(going, settled, at).await? else {
                return Ok(Went::Anew("the lake changes while it is counted"));
            };
            if slice.last {
                for Vanished { entity, before } in &survey.vanished {
                    let gone = compare(going.ground, before, &[], |_| Evidence::default());
                    let corrections = gone
                        .into_iter()
                        .map(|it| self.correction(going, at.version, *entity, it));
                    slice.corrections.extend(corrections);
                }
            }
            if let Some(lost) = slice.lost.filter(|_| !accept) {
                // Live counting went on since the survey.
                return self.dispute(going, &survey, &lost).await;
            }
            let early = self.mutation.is(Broken::NoteBeforeSlice);
            let (number, corrections) = (at.slice, slice.corrections.len() as u64);
            let mut next = Progress {
                row: slice.next,
                slice: number + 1,
                written: slice.last,
                corrections: at.corrections + corrections,
                ..at.clone()
            };
            if early && !self.noted(going, &next).await? {
                return self.overtaken(going).await;
            }
            let hour = going.asked.hour;
            if !slice.items.is_empty() {
                self.ports
                    .counts
                    .write_hours(hour, at.version, number, slice.items)
                    .await?;
            }
            for some in slice.corrections.chunks(self.config.page) {
                self.ports.reports.correct(hour, some).await?;
            }
            std::mem::swap(at, &mut next);
            if !early && !self.noted(going, at).await? {
                return self.overtaken(going).await;
            }
        }
        self.flip(going, &survey, at).await
    }

    async fn noted(&self, going: &Going<'_>, progress: &Progress) -> PortResult<bool> {
        let note = progress.to_note();
        let leases = &self.ports.leases;
        leases.keep(going.lease, self.until_ms(), note.as_deref()).await
    }

    /// The next slice's items and corrections; `None` where its rows are of other clicks than those that were settled.
    async fn work_out(
        &self,
        going: &Going<'_>,
        settled: &Settled,
        at: &Progress,
    ) -> PortResult<Option<Written>> {
        let slice = self.slice(&at.recount, at.row).await?;
        let entities: Vec<Entity> = slice.entities.iter().map(|(entity, _)| *entity).collect();
        let befores = self.before(&entities, &going.base).await?;
        let hour = going.asked.hour;
        let mut written = Written {
            next: slice.next,
            last: slice.last,
            ..Written::default()
        };
        for ((entity, rows), before) in slice.entities.into_iter().zip(befores) {
            let Some(mut minutes) = after(&rows, &settled.deltas) else {
                return Ok(None);
            };
            if !entity.is_counted_live() && self.mutation.is(Broken::PairsUnruled) {
                let as_recorded = rows.iter().map(|row| (place(row.minute), row.counters.clone()));
                minutes = as_recorded.filter(|(_, counters)| !counters.is_empty()).collect();
            }
            let compared = if entity.is_counted_live() {
                differences(going.ground, &before, &minutes, &rows, &settled.deltas)
            } else {
                // They follow from those of its advertiser and its placement.
                Vec::new()
            };
            for difference in compared {
                if difference.lost {
                    written
                        .lost
                        .get_or_insert_with(|| told(hour, entity, &difference));
                }
                let correction = self.correction(going, at.version, entity, difference);
                written.corrections.push(correction);
            }
            written.items.push(SealedHour {
                entity,
                hour,
                version: at.version,
                minutes,
            });
        }
        Ok(Some(written))
    }

    fn correction(&self, going: &Going<'_>, version: u64, entity: Entity, it: Difference) -> Correction {
        Correction {
            entity,
            minute: Minute(going.asked.hour.first_minute().0 + i64::from(it.place)),
            version,
            before: it.before,
            after: it.after,
            cause: it.cause,
            adjustment: going.base.state == HourState::Closed,
            made_at_ms: self.now_ms(),
        }
    }

    async fn flip(&self, going: &Going<'_>, survey: &Survey, at: &Progress) -> PortResult<Went> {
        let base = &going.base;
        // What is billed stands. Where nothing but pairs is new, the new version has the same counts of all the rest.
        let pairs_alone = at.corrections == 0 && base.adjusted == 0;
        let adjusts = base.state == HourState::Closed && !pairs_alone;
        let ground = self.rests_on(going, at.rulings, at.lake);
        let mut new = if adjusts {
            Manifest {
                adjusted: at.version,
                rules: base.rules,
                ..ground
            }
        } else {
            Manifest {
                state: match base.state {
                    HourState::Closed => HourState::Closed,
                    _ => HourState::Sealed,
                },
                version: at.version,
                sealed_at_ms: self.now_ms(),
                ..ground
            }
        };
        // Reported first: if we die in between, the next run's report goes back over this one, to the same ground.
        let outcome = if adjusts {
            Outcome::Adjusted
        } else {
            Outcome::Sealed
        };
        let mut report = self.found(going, survey, outcome);
        report.corrections = at.corrections;
        report.state = new.state;
        report.replaces = self.compared_with(base);
        report.version = at.version;
        let report = self.keep(report).await?;
        let mut flipped = self.ports.manifests.flip(&new).await?;
        if !flipped && self.mutation.is(Broken::FlipUnchecked) {
            new.revision = self.manifest(base.hour).await?.revision;
            flipped = self.ports.manifests.flip(&new).await?;
        }
        if flipped {
            tracing::info!(
                hour = base.hour.0,
                version = at.version,
                corrections = at.corrections,
                "an hour is sealed"
            );
            return Ok(Went::Done(report));
        }
        let overtaken = crate::domain::correction::HourReport {
            at_ms: report.at_ms,
            ..self.about(going.asked, base, Outcome::Overtaken)
        };
        // In the place of the one that promised a flip.
        self.ports.reports.report(&overtaken).await?;
        self.overtaken(going).await
    }

    /// Another run has taken the hour, or flipped it.
    async fn overtaken(&self, going: &Going<'_>) -> PortResult<Went> {
        if super::report::is_again(going.asked.run) {
            return Ok(Went::Anew("another run was faster"));
        }
        let manifest = self.manifest(going.asked.hour).await?;
        Ok(Went::Done(self.about(going.asked, &manifest, Outcome::Overtaken)))
    }
}
