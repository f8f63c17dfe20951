//! Restatement: a person asks for a past range to be recounted under the rules of today.

use serde::{Deserialize, Serialize};

use super::Reconcile;
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
    pub dry_run: bool,
    /// The lake is taken as it is: hours are sealed though it is not proved complete, or holds less than was counted.
    pub accept_lowering: bool,
}

impl Reconcile {
    /// Recounts the hours, one report each.
    ///
    /// # Errors
    /// The first failure; hours before it are done. Asking again is harmless.
    pub async fn restate(&self, restatement: &Restatement) -> PortResult<Vec<HourReport>> {
        let Restatement { from, to, .. } = *restatement;
        let run = if restatement.dry_run {
            RunKind::DryRun
        } else {
            RunKind::Restatement
        };
        let mut reports = Vec::new();
        for hour in (from.0..to.0).map(Hour) {
            let asked = Asked {
                hour,
                run,
                last_arrival: None,
                accept: restatement.accept_lowering,
            };
            reports.push(self.seal(asked).await?);
        }
        if !restatement.dry_run && from < to {
            self.seal_days_of(from.day(), Day(Hour(to.0 - 1).day().0 + 1))
                .await?;
        }
        Ok(reports)
    }
}
