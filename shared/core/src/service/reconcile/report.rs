//! Reports: what was found in an hour, kept, and told to the metrics.

use metrics::{counter, gauge, histogram};

use super::Reconcile;
use super::seal::Asked;
use crate::domain::correction::{HourReport, Outcome, RunKind};
use crate::domain::manifest::{HourState, LakeTotals, Manifest};
use crate::domain::time::Hour;
use crate::metric_names as names;
use crate::ports::PortResult;

impl Reconcile {
    /// A report on an hour as it is left.
    pub(super) fn about(&self, asked: &Asked, manifest: &Manifest, outcome: Outcome) -> HourReport {
        let visible = if manifest.adjusted > 0 {
            manifest.adjusted
        } else {
            manifest.version
        };
        HourReport {
            hour: asked.hour,
            run: asked.run,
            outcome,
            state: manifest.state,
            version: visible,
            replaces: visible,
            lake: LakeTotals::default(),
            counted: 0,
            counted_valid: 0,
            corrections: 0,
            detail: String::new(),
            at_ms: self.now_ms(),
        }
    }

    /// Keeps it, unless it says again what the last one said. Whoever asked for a range is told of each hour. No other report
    /// of the hour is of the same time.
    pub(super) async fn keep(&self, mut report: HourReport) -> PortResult<HourReport> {
        let quiet = matches!(report.run, RunKind::Hourly | RunKind::Daily)
            && matches!(
                report.outcome,
                Outcome::Waiting | Outcome::Disputed | Outcome::Unchanged
            );
        if let Some(last) = self.last_report(report.hour).await? {
            report.at_ms = report.at_ms.max(last.at_ms + 1);
            let (run, at_ms) = (report.run, report.at_ms);
            if quiet && (HourReport { run, at_ms, ..last }) == report {
                return Ok(report);
            }
        }
        counter!(names::HOURS, "outcome" => report.outcome.as_str()).increment(1);
        if matches!(report.outcome, Outcome::Sealed | Outcome::Adjusted) {
            histogram!(names::DRIFT).record(report.difference().unsigned_abs() as f64);
        }
        self.ports.reports.report(&report).await?;
        Ok(report)
    }

    async fn last_report(&self, hour: Hour) -> PortResult<Option<HourReport>> {
        let (mut last, mut after) = (None, None);
        loop {
            let to = Hour(hour.0 + 1);
            let page = self
                .ports
                .reports
                .reports(hour, to, after, self.config.page)
                .await?;
            let whole = page.len() < self.config.page;
            if let Some(report) = page.into_iter().next_back() {
                after = Some((report.hour, report.at_ms));
                last = Some(report);
            }
            if whole {
                return Ok(last);
            }
        }
    }

    /// How all hours up to this one stand, those included that are too old to be caught up: they are somebody's to put right.
    pub(super) async fn tell(&self, last: Hour) -> PortResult<()> {
        let now_ms = self.now_ms();
        let oldest = Hour::of(now_ms - self.config.history_ms);
        let manifests = self.ports.manifests.hours(oldest, Hour(last.0 + 1)).await?;
        let disputed = manifests
            .iter()
            .filter(|manifest| manifest.state == HourState::Disputed)
            .count();
        // Marks alone don't say where the counting began.
        let first = manifests.iter().find(|manifest| manifest.revision > 0);
        let first = match first {
            Some(manifest) => manifest.hour.day().first_hour().max(oldest),
            None => self.first_hour(now_ms).await?.unwrap_or(last),
        };
        let mut sealed_to = first;
        for manifest in manifests.iter().filter(|manifest| manifest.hour >= first) {
            let settled = matches!(manifest.state, HourState::Sealed | HourState::Closed);
            if manifest.hour != sealed_to || !settled {
                break;
            }
            sealed_to = Hour(manifest.hour.0 + 1);
        }
        let age_ms = now_ms - sealed_to.start_ms();
        gauge!(names::DISPUTED).set(disputed as f64);
        gauge!(names::SEAL_AGE).set(age_ms as f64 / 1000.0);
        if let Some(since_ms) = self.daily_since_ms().await? {
            gauge!(names::DAILY_AGE).set((now_ms - since_ms) as f64 / 1000.0);
        }
        Ok(())
    }
}

/// Whether a run may seal what is sealed already.
pub(super) fn is_again(run: RunKind) -> bool {
    run != RunKind::Hourly
}
