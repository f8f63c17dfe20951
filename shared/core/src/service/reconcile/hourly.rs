//! The hourly run: seals every hour that is ripe and not sealed, also those that were missed.

use super::Reconcile;
use super::note::TakesUp;
use super::seal::Asked;
use crate::domain::correction::{HourReport, RunKind};
use crate::domain::manifest::HourState;
use crate::domain::time::Hour;
use crate::ports::PortResult;

impl Reconcile {
    /// Seals what can be sealed; one report for each hour that it looked at.
    ///
    /// # Errors
    /// The first failure, after all hours were tried; the next run goes on.
    pub async fn hourly(&self) -> PortResult<Vec<HourReport>> {
        let now_ms = self.now_ms();
        let (mut reports, mut failed) = (Vec::new(), None);
        let hours = self.unsealed(now_ms).await?;
        for hour in hours {
            let asked = Asked {
                hour,
                run: RunKind::Hourly,
                last_arrival: None,
                accept: false,
                takes_up: TakesUp::Any,
            };
            match self.seal(asked).await {
                Ok(report) => reports.push(report),
                Err(error) => {
                    tracing::warn!(hour = hour.0, %error, "an hour could not be sealed now");
                    failed = failed.or(Some(error));
                }
            }
        }
        self.tell(self.last_ripe(now_ms)).await?;
        match failed {
            Some(error) => Err(error),
            None => Ok(reports),
        }
    }

    /// The hours that were ripe at this time and are neither sealed nor closed, in order.
    pub(super) async fn unsealed(&self, at_ms: i64) -> PortResult<Vec<Hour>> {
        let last = self.last_ripe(at_ms);
        let Some(first) = self.first_hour(at_ms).await? else {
            return Ok(Vec::new());
        };
        let stored = self.ports.manifests.hours(first, Hour(last.0 + 1)).await?;
        let is_open = |hour: &Hour| {
            let found = stored.binary_search_by_key(hour, |manifest| manifest.hour);
            let state = found.map_or(HourState::Open, |place| stored[place].state);
            matches!(state, HourState::Open | HourState::Disputed)
        };
        Ok((first.0..=last.0).map(Hour).filter(is_open).collect())
    }

    /// The hour from which on hours are sealed: the first of the day of the oldest that was ever looked at, as far as missed
    /// ones are caught up; before any was, of the oldest click in a lake that is proved. `None`: there is nothing to seal.
    pub(super) async fn first_hour(&self, at_ms: i64) -> PortResult<Option<Hour>> {
        let oldest = Hour::of(at_ms - self.config.catch_up_ms);
        let last = self.last_ripe(at_ms);
        let stored = self.ports.manifests.hours(oldest, Hour(last.0 + 1)).await?;
        let flipped = stored.iter().any(|manifest| manifest.revision > 0);
        let mut first = stored.first().map(|manifest| manifest.hour);
        if !flipped {
            // Marks alone don't say where the counting began.
            let missing = self
                .ports
                .proof
                .missing(oldest.start_ms(), self.ripe_ms(last))
                .await?;
            if let Some(missing) = missing {
                tracing::info!(missing, "nothing is sealed yet: the lake is not complete");
                return Ok(None);
            }
            let arrivals = oldest..Hour(Hour::of(at_ms).0 + 1);
            let clicked = self.ports.lake.clicked_hours(arrivals).await?;
            let clicked = clicked.iter().map(|clicked| clicked.hour);
            first = first
                .into_iter()
                .chain(clicked)
                .min()
                .filter(|hour| *hour <= last);
        }
        Ok(first.map(|hour| hour.day().first_hour().max(oldest)))
    }
}
