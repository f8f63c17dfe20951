//! The daily run: seals anew what the arrivals since the last one touched, and promotes orphans' duplicates.
//!
//! Invariant: it takes the lake as complete only up to its cut, which it proves first; the next one begins there, and it moves
//! on only when everything is done: who dies half way is followed by one that does all of it again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::note::TakesUp;
use super::seal::Asked;
use super::{Reconcile, each};
use crate::domain::correction::{HourReport, Outcome, RunKind};
use crate::domain::manifest::Manifest;
use crate::domain::mutation::Broken;
use crate::domain::time::{DAY_MS, Day, HOUR_MS, Hour};
use crate::ports::{ClickedHour, Job, Lease, PortError, PortResult};

/// What one run leaves for the next.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Note {
    /// The cut of the last run that was done, Unix milliseconds.
    since_ms: i64,
    /// The cut of one that is not done yet. It stays: what arrives in the meantime would always be on its way still.
    #[serde(default)]
    cut_ms: Option<i64>,
    /// When the first click was made that the last run could not judge, Unix milliseconds.
    #[serde(default)]
    young_ms: Option<i64>,
}

impl Note {
    fn parse(note: Option<&str>) -> Option<Self> {
        serde_json::from_str(note?).ok()
    }

    fn to_text(self) -> Option<String> {
        serde_json::to_string(&self).ok()
    }
}

/// How a daily run ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DailyRun {
    /// Whether all was done up to its cut; else the next one begins where this one did.
    pub done: bool,
    /// Its cut: what arrived before it was looked at, Unix milliseconds; 0 where it did not come so far.
    pub cut_ms: i64,
    /// What it waited for, for a person; empty if it is done.
    pub detail: String,
    /// The hours that it looked at.
    pub reports: Vec<HourReport>,
}

impl DailyRun {
    fn not_now(detail: &str) -> Self {
        Self {
            detail: detail.to_owned(),
            ..Self::default()
        }
    }
}

impl Reconcile {
    /// One run.
    ///
    /// # Errors
    /// Where a port fails: the next run does all of it.
    pub async fn daily(&self) -> PortResult<DailyRun> {
        self.daily_or(false).await
    }

    /// The same for whoever knows that the lake will never be complete: what it lacks is not waited for any more. Hours that are not
    /// sealed for want of it stay so until they are restated with
    /// [`accept_lowering`](super::Restatement::accept_lowering).
    ///
    /// # Errors
    /// As [`daily`](Self::daily).
    pub async fn daily_of_incomplete(&self) -> PortResult<DailyRun> {
        self.daily_or(true).await
    }

    /// Up to when arrivals were looked at by the last run that was done, Unix milliseconds.
    pub(super) async fn daily_since_ms(&self) -> PortResult<Option<i64>> {
        let note = self.ports.leases.note(Job::Daily).await?;
        Ok(Note::parse(note.as_deref()).map(|note| note.since_ms))
    }

    async fn daily_or(&self, accept: bool) -> PortResult<DailyRun> {
        let Some(lease) = self.take(Job::Daily).await? else {
            return Ok(DailyRun::not_now("another run is at it"));
        };
        let mut note = Note::parse(lease.note.as_deref());
        let ran = self.run_daily(&lease, &mut note, accept).await;
        let note = note.and_then(Note::to_text);
        self.release(&lease, note.as_deref()).await;
        ran
    }

    /// Whether a day has passed since the cut of the last run that was done, or one is not done yet.
    ///
    /// # Errors
    /// Where the leases don't answer.
    pub async fn is_daily_due(&self) -> PortResult<bool> {
        let note = self.ports.leases.note(Job::Daily).await?;
        let now_ms = self.now_ms() - self.config.slack_ms;
        let due = |note: Note| note.cut_ms.is_some() || now_ms - note.since_ms >= DAY_MS;
        Ok(Note::parse(note.as_deref()).is_none_or(due))
    }

    /// The run; `note` is from where the next one begins.
    async fn run_daily(&self, lease: &Lease, note: &mut Option<Note>, accept: bool) -> PortResult<DailyRun> {
        let now_ms = self.now_ms() - self.config.slack_ms;
        let cut_ms = note.and_then(|note| note.cut_ms).unwrap_or(now_ms);
        let since_ms = match *note {
            Some(note) => note.since_ms,
            None => match self.first_hour(cut_ms).await? {
                Some(hour) => hour.start_ms(),
                None => return Ok(DailyRun::not_now("nothing was clicked yet")),
            },
        };
        let young_ms = note.and_then(|note| note.young_ms);
        let mut pending = Note {
            since_ms,
            cut_ms: Some(cut_ms),
            young_ms,
        };
        if self.mutation.is(Broken::SinceAdvancesFirst) {
            pending = Note {
                since_ms: cut_ms,
                cut_ms: None,
                young_ms,
            };
        }
        *note = Some(pending);
        let text = pending.to_text();
        if !self
            .ports
            .leases
            .keep(lease, self.until_ms(), text.as_deref())
            .await?
        {
            return Ok(DailyRun::not_now("another run is at it"));
        }
        let from_ms = since_ms - self.config.slack_ms;
        if !accept
            && let Some(missing) = self.ports.proof.missing(from_ms, cut_ms).await?
            && !self.mutation.is(Broken::SealWithoutProof)
        {
            return Ok(DailyRun::not_now(&missing));
        }
        // What was not ripe at the last cut is judged now, so this reaches back by as much as an hour takes to be ripe.
        let margin_ms = match self.mutation.is(Broken::MarginForgotten) {
            true => 0,
            false => HOUR_MS + self.config.late_after_ms + 2 * self.config.slack_ms,
        };
        let first_ms = (since_ms - margin_ms).min(young_ms.unwrap_or(i64::MAX));
        let arrivals = Hour(Hour::of(first_ms).0 - 1)..Hour(Hour::of(self.now_ms()).0 + 1);
        let promoted = self.promote(&arrivals, cut_ms).await?;
        let orphans = promoted.hours;
        let touched = self.touched(&arrivals, cut_ms, &orphans).await?;

        // An orphan's hour first: its own click goes before another one takes its place.
        let (first, then): (Vec<_>, Vec<_>) =
            touched.into_iter().partition(|(hour, _)| orphans.contains(hour));
        let mut reports = Vec::new();
        for (hour, last_arrival) in first.into_iter().chain(then) {
            let asked = Asked {
                hour,
                run: RunKind::Daily,
                last_arrival,
                accept: false,
                takes_up: TakesUp::ProvedTo(cut_ms),
            };
            let report = self.seal(asked).await?;
            if report.outcome == Outcome::Overtaken {
                return Err(PortError::unavailable("another run is at an hour"));
            }
            reports.push(report);
            if !self.ports.leases.keep(lease, self.until_ms(), None).await? {
                return Err(PortError::unavailable("another daily run has begun"));
            }
        }
        self.seal_days(cut_ms).await?;
        // Those of hours that are older than what is caught up.
        let oldest = Day::of(cut_ms - self.config.catch_up_ms);
        let older: BTreeSet<Day> = reports.iter().map(|report| report.hour.day()).collect();
        for day in older.range(..oldest) {
            self.seal_days_of(*day, Day(day.0 + 1)).await?;
        }
        self.grow_old(since_ms, cut_ms).await?;
        *note = Some(Note {
            since_ms: cut_ms,
            cut_ms: None,
            young_ms: promoted.young_ms,
        });
        Ok(DailyRun {
            done: true,
            cut_ms,
            detail: String::new(),
            reports,
        })
    }

    /// The hours that must be looked at, with the last arrival partition that holds clicks of them.
    async fn touched(
        &self,
        arrivals: &Range<Hour>,
        cut_ms: i64,
        orphans: &BTreeSet<Hour>,
    ) -> PortResult<BTreeMap<Hour, Option<Hour>>> {
        let mut touched: BTreeMap<Hour, Option<Hour>> = BTreeMap::new();
        for hour in self.unsealed(cut_ms).await? {
            touched.insert(hour, None);
        }
        let last_ripe = self.last_ripe(cut_ms);
        if !self.mutation.is(Broken::NoReseal) {
            let oldest = Hour::of(cut_ms - self.config.catch_up_ms);
            let stored = self.ports.manifests.hours(oldest, Hour(last_ripe.0 + 1)).await?;
            // Live counting may tell of what came before the last run only now.
            let dirty = stored.iter().filter(|manifest| manifest.is_dirty());
            touched.extend(dirty.map(|manifest| (manifest.hour, None)));
            // And a run that stood still may have ruled on any of them only now.
            let sealed: Vec<&Manifest> = stored.iter().filter(|manifest| manifest.is_sealed()).collect();
            let ruled = sealed.iter().map(|manifest| self.has_new_rulings(manifest));
            let ruled = each(ruled.collect(), self.config.at_once).await?;
            let ruled = sealed.iter().zip(ruled).filter(|(_, is_new)| *is_new);
            touched.extend(ruled.map(|(manifest, _)| (manifest.hour, None)));
        }
        let clicked = self.ports.lake.clicked_hours(arrivals.clone()).await?;
        for clicked in clicked.iter().filter(|clicked| clicked.hour <= last_ripe) {
            let manifest = self.manifest(clicked.hour).await?;
            let unsealed = !manifest.is_sealed();
            let no_reseal = self.mutation.is(Broken::NoReseal);
            if unsealed
                || !no_reseal && self.is_touched(&manifest, clicked, arrivals)
                || self.has_new_rulings(&manifest).await?
            {
                touched.insert(clicked.hour, Some(clicked.last_arrival));
            }
        }
        for hour in orphans {
            let manifest = self.manifest(*hour).await?;
            if manifest.is_sealed() && self.has_new_rulings(&manifest).await? {
                touched.entry(*hour).or_insert(None);
            }
        }
        Ok(touched)
    }

    fn is_touched(&self, manifest: &Manifest, clicked: &ClickedHour, arrivals: &Range<Hour>) -> bool {
        // Of an hour whose first arrivals lie before these it can't be told by the number of clicks.
        let whole = Hour(clicked.hour.0 - 1) >= arrivals.start;
        manifest.is_dirty() || !whole || manifest.lake.clicks != clicked.clicks
    }

    async fn has_new_rulings(&self, manifest: &Manifest) -> PortResult<bool> {
        Ok(self.ruled(manifest.hour).await?.count != manifest.rulings)
    }
}
