//! How the whole stands at this moment, for operators.
//!
//! Invariant: a figure that cannot be told is none, never zero; what nobody measured keeps nothing else from being told; asking
//! often costs no more than asking every few seconds.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::correction::Outcome;
use crate::domain::entity::Entity;
use crate::domain::manifest::{HourState, Manifest};
use crate::domain::time::{DAY_MS, Hour, MINUTE_MS, Minute};
use crate::ports::{
    Backlog, BucketStore, Clock, DelayMs, Gauges, Manifests, Measured, Measurements, PortResult, SealReports,
};

/// Full minutes that the rate is taken over.
const RATE_MINUTES: i64 = 5;
/// How long ago a minute must have ended to be full: counting is a little behind.
const BEHIND_MS: i64 = 5_000;
/// How far back hours are looked at: as far as sealing catches up.
const LOOK_BACK_MS: i64 = 14 * DAY_MS;
/// For how long an answer is given again, milliseconds.
const KEPT_MS: i64 = 5_000;
/// At most so much is counted in the quarantine.
const MOST_QUARANTINED: u64 = 10_000;
/// Reports of one read.
const PAGE: usize = 1000;

/// How sealing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealingStands {
    /// All is sealed up to here, Unix milliseconds; `None`: nothing is.
    pub sealed_until_ms: Option<i64>,
    /// Hours of the last 14 days that are disputed.
    pub disputed_hours: u64,
    /// By how many clicks the live counts of hours that were sealed in the last 24 hours were off, those too many and those
    /// too few added up; `None` where none was sealed.
    pub drift_clicks_24h: Option<u64>,
}

/// How the whole stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// When it was looked at, Unix milliseconds.
    pub as_of_ms: i64,
    /// Clicks a second over the last five full minutes, whatever their verdict.
    pub clicks_per_second: f64,
    /// From click to count; `None` where nothing was counted lately, or nobody tells.
    pub count_delay_ms: Option<DelayMs>,
    /// What waits in the spill.
    pub spill: Backlog,
    /// What was put into quarantine in the last 24 hours; at 10,000 there may be more.
    pub quarantined_24h: u64,
    /// Clicks of the last 24 hours whose record only the last resort took; `None` where there is none, or nobody tells.
    pub last_resort_24h: Option<u64>,
    /// Sealing.
    pub sealing: SealingStands,
}

/// The ports of [`OperationsService`].
#[derive(Clone)]
pub struct OperationsPorts {
    /// For the rate.
    pub buckets: Arc<dyn BucketStore>,
    /// For the state of sealing.
    pub manifests: Arc<dyn Manifests>,
    /// What sealing found.
    pub reports: Arc<dyn SealReports>,
    /// Spill and quarantine.
    pub gauges: Arc<dyn Gauges>,
    /// Delay, age of the spill, last resort.
    pub measurements: Arc<dyn Measurements>,
    /// Now.
    pub clock: Arc<dyn Clock>,
}

/// Says how the whole stands.
#[derive(Clone)]
pub struct OperationsService {
    ports: OperationsPorts,
    last: Arc<Mutex<Option<Standing>>>,
}

impl OperationsService {
    /// Over these ports.
    pub fn new(ports: OperationsPorts) -> Self {
        Self {
            ports,
            last: Arc::default(),
        }
    }

    /// How the whole stands, as of the last five seconds.
    ///
    /// # Errors
    /// Those of the ports.
    pub async fn standing(&self) -> PortResult<Standing> {
        let now_ms = self.ports.clock.now_ms();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = |last: &Standing| (last.as_of_ms..last.as_of_ms + KEPT_MS).contains(&now_ms);
        if let Some(last) = last.filter(fresh) {
            return Ok(last);
        }
        let day_ago_ms = now_ms - DAY_MS;
        let gauges = &self.ports.gauges;
        let measured = self.ports.measurements.measured(now_ms).await;
        let measured = measured.unwrap_or_else(|error| {
            tracing::warn!(%error, "measurements cannot be told");
            Measured::default()
        });
        let mut spill = gauges.spill().await?;
        if spill.waiting > 0 && spill.oldest_ms.is_none() {
            let age_ms = measured
                .spill_age_ms
                .and_then(|age_ms| i64::try_from(age_ms).ok());
            spill.oldest_ms = age_ms.map(|age_ms| now_ms.saturating_sub(age_ms));
        }
        let standing = Standing {
            as_of_ms: now_ms,
            clicks_per_second: self.rate(now_ms).await?,
            count_delay_ms: measured.count_delay_ms,
            spill,
            quarantined_24h: gauges.quarantined(day_ago_ms, now_ms, MOST_QUARANTINED).await?,
            last_resort_24h: measured.last_resort_24h,
            sealing: self.sealing(now_ms).await?,
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(standing.clone());
        Ok(standing)
    }

    async fn rate(&self, now_ms: i64) -> PortResult<f64> {
        let end = Minute::of(now_ms - BEHIND_MS);
        let from = Minute(end.0 - RATE_MINUTES);
        let minutes = self.ports.buckets.read_totals(Entity::Total, from, end).await?;
        let clicks: u64 = minutes
            .iter()
            .map(|minute| minute.valid + minute.invalid.iter().sum::<u64>())
            .sum();
        Ok(clicks as f64 / (RATE_MINUTES * MINUTE_MS / 1_000) as f64)
    }

    async fn sealing(&self, now_ms: i64) -> PortResult<SealingStands> {
        let (from, to) = (Hour::of(now_ms - LOOK_BACK_MS), Hour::of(now_ms));
        let manifests = self.ports.manifests.hours(from, to).await?;
        let disputed = manifests
            .iter()
            .filter(|manifest| manifest.state == HourState::Disputed);
        Ok(SealingStands {
            sealed_until_ms: sealed_until(&manifests).map(Hour::start_ms),
            disputed_hours: disputed.count() as u64,
            drift_clicks_24h: self.drift(&manifests, now_ms).await?,
        })
    }

    /// Of the hours that became visible anew in the last day.
    async fn drift(&self, manifests: &[Manifest], now_ms: i64) -> PortResult<Option<u64>> {
        let since_ms = now_ms - DAY_MS;
        let mut lately = manifests
            .iter()
            .filter(|manifest| manifest.sealed_at_ms >= since_ms)
            .map(|manifest| manifest.hour);
        let Some(first) = lately.next() else {
            return Ok(None);
        };
        let end = Hour(lately.next_back().unwrap_or(first).0 + 1);
        let (mut drift, mut after) = (0, None);
        loop {
            let page = self.ports.reports.reports(first, end, after, PAGE).await?;
            let counts = page
                .iter()
                .filter(|report| report.at_ms >= since_ms && report.outcome == Outcome::Sealed);
            drift += counts
                .map(|report| report.difference().unsigned_abs())
                .sum::<u64>();
            match page.last() {
                Some(last) if page.len() >= PAGE => after = Some((last.hour, last.at_ms)),
                _ => return Ok(Some(drift)),
            }
        }
    }
}

/// The end of the hours that follow each other sealed, from the first on of which anything is known.
fn sealed_until(manifests: &[Manifest]) -> Option<Hour> {
    let first = manifests.first()?.hour;
    let sealed = manifests.iter().zip(first.0..).take_while(|(manifest, hour)| {
        let settled = matches!(manifest.state, HourState::Sealed | HourState::Closed);
        settled && manifest.hour.0 == *hour
    });
    sealed.last().map(|(manifest, _)| Hour(manifest.hour.0 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_ends_at_the_first_hour_that_is_not() {
        let hour = |hour, state| Manifest {
            state,
            version: 1,
            ..Manifest::open(Hour(hour))
        };
        let (open, sealed) = (HourState::Open, HourState::Sealed);
        for (manifests, until) in [
            (vec![], None),
            (vec![(7, open)], None),
            (vec![(7, sealed)], Some(8)),
            (vec![(7, HourState::Closed), (8, sealed), (9, open)], Some(9)),
            (vec![(7, sealed), (9, sealed)], Some(8)),
            (vec![(7, sealed), (8, HourState::Disputed), (9, sealed)], Some(8)),
        ] {
            let stored: Vec<_> = manifests
                .iter()
                .map(|(number, state)| hour(*number, *state))
                .collect();
            assert_eq!(sealed_until(&stored), until.map(Hour), "{manifests:?}");
        }
    }
}
