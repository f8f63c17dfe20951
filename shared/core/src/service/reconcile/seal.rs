//! Sealing one hour: recount, compare, write, flip.
//!
//! Invariant: of several runs at the same hour one flips; the others are overtaken, or begin anew on the new ground.

use super::Reconcile;
use super::compare::Ground;
use super::note::{Progress, TakesUp};
use super::report::is_again;
use super::settled::Settled;
use super::survey::Survey;
use crate::domain::correction::{HourReport, Outcome, RunKind};
use crate::domain::manifest::{HourState, Manifest, RULES_VERSION};
use crate::domain::mutation::Broken;
use crate::domain::time::Hour;
use crate::ports::{Job, LakeSlice, Lease, PortError, PortResult};

/// Which hour is to be sealed, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) hour: Hour,
    pub(super) run: RunKind,
    /// An arrival partition that is known to hold clicks of it.
    pub(super) last_arrival: Option<Hour>,
    /// The lake is taken as it is.
    pub(super) accept: bool,
    /// Whose recounts it may go on with.
    pub(super) takes_up: TakesUp,
}

/// One go at an hour.
pub(super) struct Going<'a> {
    pub(super) asked: &'a Asked,
    pub(super) lease: &'a Lease,
    pub(super) base: Manifest,
    pub(super) ground: Ground,
    pub(super) slice: LakeSlice,
}

/// How a go ended.
pub(super) enum Went {
    Done(HourReport),
    /// The ground has changed: anew.
    Anew(&'static str),
}

impl Reconcile {
    /// Seals an hour, or says why not.
    pub(super) async fn seal(&self, asked: Asked) -> PortResult<HourReport> {
        let mut why = "";
        for _ in 0..self.config.tries.max(1) {
            // A lease for each go: a version is never written twice from different ground.
            let Some(lease) = self.lease(&asked).await? else {
                let manifest = self.manifest(asked.hour).await?;
                let mut report = self.about(&asked, &manifest, Outcome::Overtaken);
                report.detail = "another run is at it".to_owned();
                return Ok(report);
            };
            let mut progress = Progress::parse(lease.note.as_deref());
            let went = self.going(&asked, &lease, &mut progress).await;
            let note = match &went {
                Ok(_) => None,
                // Its result is gone, perhaps.
                Err(error) if !error.is_retryable() => None,
                Err(_) => progress.as_ref().and_then(Progress::to_note),
            };
            if asked.run != RunKind::DryRun {
                self.release(&lease, note.as_deref()).await;
            }
            match went? {
                Went::Done(report) => return Ok(report),
                Went::Anew(reason) => why = reason,
            }
        }
        Err(PortError::unavailable(why))
    }

    async fn lease(&self, asked: &Asked) -> PortResult<Option<Lease>> {
        let job = Job::Hour(asked.hour);
        if asked.run == RunKind::DryRun {
            return Ok(Some(Lease {
                job,
                holder: String::new(),
                fence: 0,
                note: None,
            }));
        }
        self.take(job).await
    }

    async fn going(&self, asked: &Asked, lease: &Lease, progress: &mut Option<Progress>) -> PortResult<Went> {
        let base = self.manifest(asked.hour).await?;
        let settled = matches!(base.state, HourState::Sealed | HourState::Closed);
        if settled && !is_again(asked.run) {
            let mut report = self.about(asked, &base, Outcome::Overtaken);
            report.detail = "another run has sealed it".to_owned();
            return Ok(Went::Done(report));
        }
        // What is sealed was proved before.
        if !base.is_sealed()
            && !asked.accept
            && let Some(missing) = self.unproved(asked.hour).await?
        {
            self.note_arrival(&base, asked.last_arrival).await?;
            let mut report = self.about(asked, &base, Outcome::Waiting);
            report.detail = missing;
            return Ok(Went::Done(self.keep(report).await?));
        }
        let first = Hour(asked.hour.0 - 1);
        let last = self.last_proved(asked.hour).max(base.last_arrival);
        let last = last.max(asked.last_arrival.unwrap_or(last));
        let going = Going {
            asked,
            lease,
            ground: Ground {
                sealed: base.is_sealed(),
                late: base.marks > base.quarantined,
                quarantined: base.quarantined > 0,
                restated: base.is_sealed() && base.rules != RULES_VERSION,
            },
            base,
            slice: LakeSlice {
                arrivals: first..Hour(last.0 + 1),
                clicked: Some(asked.hour),
            },
        };
        let went = self.go(&going, progress).await?;
        if let Some(progress) = progress.take() {
            self.ports.lake.forget(&progress.recount).await?;
        }
        Ok(went)
    }

    /// Why the lake can't be taken for complete.
    async fn unproved(&self, hour: Hour) -> PortResult<Option<String>> {
        if self.mutation.is(Broken::SealWithoutProof) {
            return Ok(None);
        }
        let from_ms = hour.start_ms() - self.config.slack_ms;
        let to_ms = if self.mutation.is(Broken::ProofEndsWithHour) {
            hour.end_ms()
        } else {
            self.ripe_ms(hour)
        };
        self.ports.proof.missing(from_ms, to_ms).await
    }

    /// The last arrival partition in which a heartbeat may have come through that the hour's proof rests on: what was delivered
    /// with it lies there too. On a delivery that lags by an hour that is one more than the clicks' own.
    fn last_proved(&self, hour: Hour) -> Hour {
        let now = Hour::of(self.now_ms());
        Hour((hour.0 + 2).min(now.0).max(hour.0 + 1))
    }

    /// Until it can be sealed, the hour's late arrivals are not forgotten.
    async fn note_arrival(&self, base: &Manifest, last_arrival: Option<Hour>) -> PortResult<()> {
        let Some(last_arrival) = last_arrival.filter(|last| *last > base.last_arrival) else {
            return Ok(());
        };
        let noted = Manifest {
            last_arrival,
            ..base.clone()
        };
        if self.ports.manifests.flip(&noted).await? {
            Ok(())
        } else {
            Err(PortError::unavailable("the hour changed in the meantime"))
        }
    }

    async fn go(&self, going: &Going<'_>, progress: &mut Option<Progress>) -> PortResult<Went> {
        let Going {
            asked, base, slice, ..
        } = going;
        let settled = self
            .settled(asked.hour, slice, asked.run != RunKind::DryRun)
            .await?;
        let taken_up = progress.as_ref().is_some_and(|progress| {
            progress.follows(base, slice.arrivals.end, asked.takes_up, self.now_ms())
                && progress.rulings == settled.ruled.count
                && progress.special == settled.special.len()
                && !asked.accept
        });
        if taken_up {
            return self.write(going, &settled, Survey::default(), progress).await;
        }
        if let Some(old) = progress.take() {
            self.ports.lake.forget(&old.recount).await?;
        }
        let begun_ms = self.now_ms();
        let recount = self
            .ports
            .lake
            .recount(asked.hour, slice.arrivals.clone())
            .await?;
        let survey = self.believed(going, &settled, &recount).await;
        let survey = match survey {
            Ok(Some(survey)) => survey,
            Ok(None) => {
                self.ports.lake.forget(&recount.id).await?;
                return Ok(Went::Anew("the lake changes while it is counted"));
            }
            Err(error) => return Err(error),
        };
        let accept = asked.accept || self.mutation.is(Broken::DisputeIgnored);
        let quiet = base.is_sealed() && survey.differences == 0 && !survey.lacks_pairs(base);
        let went = if asked.run == RunKind::DryRun {
            let mut report = self.found(going, &survey, Outcome::Shown);
            report.detail = survey.lost.clone().unwrap_or_default();
            if report.detail.is_empty() && survey.lacks_pairs(base) {
                report.detail = "clicks of advertisers by placement would be sealed anew".to_owned();
            }
            Some(Went::Done(self.keep(report).await?))
        } else if let Some(lost) = survey.lost.as_ref().filter(|_| !accept) {
            Some(self.dispute(going, &survey, lost).await?)
        } else if quiet {
            Some(self.unchanged(going, &settled, &survey).await?)
        } else {
            None
        };
        if let Some(went) = went {
            self.ports.lake.forget(&recount.id).await?;
            return Ok(went);
        }
        *progress = Some(Progress {
            version: going.lease.fence,
            recount: recount.id,
            lake: survey.lake,
            arrivals_end: slice.arrivals.end,
            revision: base.revision,
            marks: base.marks,
            begun_ms,
            proved_ms: match asked.takes_up {
                TakesUp::ProvedTo(cut_ms) => cut_ms,
                TakesUp::Any | TakesUp::Since(_) | TakesUp::None => 0,
            },
            rulings: settled.ruled.count,
            special: settled.special.len(),
            counted: survey.counted,
            row: 0,
            slice: 0,
            written: false,
            corrections: 0,
        });
        self.write(going, &settled, survey, progress).await
    }

    /// What the recount would change; `None` if it is not of the clicks that were settled.
    async fn believed(
        &self,
        going: &Going<'_>,
        settled: &Settled,
        recount: &crate::ports::Recount,
    ) -> PortResult<Option<Survey>> {
        if !settled.ruled.clicks().is_empty() {
            // What was there before the recount is in it, what is not there after it isn't.
            let now = self.special(&going.slice, &settled.ruled).await?;
            if !now
                .iter()
                .map(|found| found.click.click_id)
                .eq(settled.special.iter().copied())
            {
                return Ok(None);
            }
        }
        self.survey(going.ground, recount, &going.base, &settled.deltas)
            .await
    }

    /// The version that a recount of this hour is compared with.
    pub(super) fn compared_with(&self, base: &Manifest) -> u64 {
        match base.adjusted {
            0 => base.version,
            _ if self.mutation.is(Broken::AdjustedAnew) => base.version,
            adjusted => adjusted,
        }
    }

    /// The lake holds less than was counted: nothing changes but the state.
    pub(super) async fn dispute(&self, going: &Going<'_>, survey: &Survey, lost: &str) -> PortResult<Went> {
        let base = &going.base;
        let disputed = Manifest {
            state: match base.state {
                HourState::Closed => HourState::Closed,
                _ => HourState::Disputed,
            },
            last_arrival: self.last_arrival(going),
            ..base.clone()
        };
        let mut report = self.found(going, survey, Outcome::Disputed);
        report.state = disputed.state;
        report.detail = lost.to_owned();
        tracing::error!(hour = going.asked.hour.0, detail = lost, "an hour is disputed");
        let report = self.keep(report).await?;
        if disputed != *base && !self.ports.manifests.flip(&disputed).await? {
            return Ok(Went::Anew("the hour changed in the meantime"));
        }
        Ok(Went::Done(report))
    }

    /// What is sealed is right; it is noted what that rests on.
    async fn unchanged(&self, going: &Going<'_>, settled: &Settled, survey: &Survey) -> PortResult<Went> {
        let base = &going.base;
        let noted = Manifest {
            state: match base.state {
                HourState::Disputed => HourState::Sealed,
                state => state,
            },
            ..self.rests_on(going, settled.ruled.count, survey.lake)
        };
        let mut report = self.found(going, survey, Outcome::Unchanged);
        report.state = noted.state;
        let report = self.keep(report).await?;
        if noted != *base && !self.ports.manifests.flip(&noted).await? {
            return Ok(Went::Anew("the hour changed in the meantime"));
        }
        Ok(Went::Done(report))
    }

    /// The last arrival partition that was read.
    fn last_arrival(&self, going: &Going<'_>) -> Hour {
        if self.mutation.is(Broken::LastArrivalForgotten) {
            return going.base.last_arrival;
        }
        Hour(going.slice.arrivals.end.0 - 1)
    }

    /// The manifest after a recount, its version aside.
    pub(super) fn rests_on(
        &self,
        going: &Going<'_>,
        rulings: u64,
        lake: crate::domain::manifest::LakeTotals,
    ) -> Manifest {
        let base = &going.base;
        Manifest {
            rules: RULES_VERSION,
            lake,
            last_arrival: self.last_arrival(going),
            marks_sealed: if self.mutation.is(Broken::MarksLost) {
                base.marks_sealed
            } else {
                base.marks
            },
            rulings,
            ..base.clone()
        }
    }

    /// A report with what was found.
    pub(super) fn found(&self, going: &Going<'_>, survey: &Survey, outcome: Outcome) -> HourReport {
        HourReport {
            lake: survey.lake,
            counted: survey.counted.0,
            counted_valid: survey.counted.1,
            corrections: survey.differences,
            ..self.about(going.asked, &going.base, outcome)
        }
    }
}
