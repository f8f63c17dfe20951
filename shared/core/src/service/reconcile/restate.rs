//! Restatement: a person asks for a past range to be recounted under the rules of today.

use serde::{Deserialize, Serialize};

use super::Reconcile;
use super::note::TakesUp;
use super::seal::Asked;
use crate::domain::correction::{HourReport, Outcome, RunKind};
use crate::domain::time::{Day, Hour};
use crate::ports::PortResult;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restatement {
    /// The first hour.
    pub from: Hour,
    /// The hour after the last.
    pub to: Hour,
    /// Only reports; nothing is written. Unclaimed clicks that nobody has settled yet are shown as valid.
    #[serde(default)]
    pub dry_run: bool,
    /// The lake is taken as it is: hours are sealed though it is not proved complete, or holds less than was counted.
    #[serde(default)]
    pub accept_lowering: bool,
    /// When it was asked for, Unix milliseconds, where it may be worked more than once: a recount that was begun since is gone
    /// on with, one from before may lack what has been put right.
    #[serde(default)]
    pub asked_at_ms: Option<i64>,
}

/// How often an hour that another run holds is looked at, milliseconds.
const PAUSE_MS: u64 = 15_000;

/// What came of a restatement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restated {
    /// One report for each hour that was recounted.
    pub reports: Vec<HourReport>,
    /// What time did not suffice for.
    pub rest: Option<Restatement>,
}

impl Reconcile {
    /// Recounts the hours, one report each.
    ///
    /// # Errors
    /// The first failure; hours before it are done. Asking again is harmless.
    pub async fn restate(&self, restatement: &Restatement) -> PortResult<Vec<HourReport>> {
        Ok(self.restate_some(restatement, i64::MAX, false).await?.reports)
    }

    /// The same for whoever is ended at some time: no hour but the first is begun at `until_ms` (Unix milliseconds) or later.
    /// An hour that another run holds is waited for: one that died holds it until its lease ends, and perhaps it was this
    /// restatement's.
    ///
    /// # Errors
    /// As [`restate`](Self::restate).
    pub async fn restate_until(&self, restatement: &Restatement, until_ms: i64) -> PortResult<Restated> {
        self.restate_some(restatement, until_ms, true).await
    }

    async fn restate_some(
        &self,
        restatement: &Restatement,
        until_ms: i64,
        waits: bool,
    ) -> PortResult<Restated> {
        let Restatement { from, to, .. } = *restatement;
        let run = if restatement.dry_run {
            RunKind::DryRun
        } else {
            RunKind::Restatement
        };
        let (mut reports, mut next) = (Vec::new(), from);
        while next < to && (next == from || self.now_ms() < until_ms) {
            let asked = Asked {
                hour: next,
                run,
                last_arrival: None,
                accept: restatement.accept_lowering,
                // Whoever asks has put right what was missing.
                takes_up: restatement.asked_at_ms.map_or(TakesUp::None, TakesUp::Since),
            };
            let mut report = self.seal(asked).await?;
            let lease_ends_ms = self.now_ms() + self.config.lease_ms + self.config.slack_ms;
            while waits && report.outcome == Outcome::Overtaken && self.now_ms() < lease_ends_ms.min(until_ms)
            {
                self.ports.clock.sleep(PAUSE_MS).await;
                report = self.seal(asked).await?;
            }
            if report.outcome == Outcome::Overtaken {
                if waits && self.now_ms() >= until_ms {
                    break;
                }
                // Whoever asked for the range is told of each hour.
                report = self.keep(report).await?;
            }
            reports.push(report);
            next = Hour(next.0 + 1);
        }
        if !restatement.dry_run && from < next {
            self.seal_days_of(from.day(), Day(Hour(next.0 - 1).day().0 + 1))
                .await?;
        }
        let rest = (next < to).then_some(Restatement {
            from: next,
            ..*restatement
        });
        Ok(Restated { reports, rest })
    }
}
