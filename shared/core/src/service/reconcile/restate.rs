//! Restatement: a person asks for a past range to be recounted under the rules of today.

use serde::{Deserialize, Serialize};

use super::Reconcile;
use super::note::TakesUp;
use super::seal::Asked;
use crate::domain::correction::{HourReport, RunKind};
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
}

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
        Ok(self.restate_until(restatement, i64::MAX).await?.reports)
    }

    /// The same for whoever is ended at some time: no hour but the first is begun at `until_ms` (Unix milliseconds) or later.
    ///
    /// # Errors
    /// As [`restate`](Self::restate).
    pub async fn restate_until(&self, restatement: &Restatement, until_ms: i64) -> PortResult<Restated> {
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
                takes_up: TakesUp::None,
            };
            reports.push(self.seal(asked).await?);
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
