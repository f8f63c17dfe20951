//! Runs of the function `reconcile` that somebody asks for: it is called and not waited for.
//!
//! Invariant: an `Ok` means that Lambda has taken the event, and calls the function until it was worked once or failed three
//! times. An event that is sent again because its answer was lost is harmless: a restatement may be made twice.

use clickledger_core::ports::PortResult;
use clickledger_core::service::reconcile::Restatement;
use serde_json::{Value, json};

use crate::athena::LakeDay;
use crate::config::{ConfigError, Resource};
use crate::connect::{Aws, Road};
use crate::operator::client::{Ask, send};
use crate::patience::Patience;

/// Starts runs.
pub struct ReconcileRuns {
    road: Road,
    path: String,
    patience: Patience,
}

impl Aws {
    /// Runs of the function that the environment names.
    ///
    /// # Errors
    /// Its name is missing, or there is no region.
    pub async fn reconcile_runs(&self, patience: Patience) -> Result<ReconcileRuns, ConfigError> {
        let function = self.name(Resource::ReconcileFunction)?;
        self.reconcile_runs_of(&function, patience).await
    }

    /// Runs of the function of this name.
    ///
    /// # Errors
    /// There is no region.
    pub async fn reconcile_runs_of(
        &self,
        function: &str,
        patience: Patience,
    ) -> Result<ReconcileRuns, ConfigError> {
        Ok(ReconcileRuns {
            road: self.road("lambda").await?,
            path: format!("/2015-03-31/functions/{function}/invocations"),
            patience,
        })
    }
}

impl ReconcileRuns {
    /// Has these hours recounted.
    ///
    /// # Errors
    /// Lambda does not answer, or says no.
    pub async fn restate(&self, restatement: &Restatement) -> PortResult<()> {
        self.start(event(restatement)).await
    }

    /// Has days of the lake made Parquet: those before `before`, from `from` on if it is given.
    ///
    /// # Errors
    /// Lambda does not answer, or says no.
    pub async fn compact(&self, from: Option<&LakeDay>, before: &LakeDay) -> PortResult<()> {
        self.start(json!({
            "task": "compact",
            "from": from.map(LakeDay::as_str),
            "before": before.as_str(),
        }))
        .await
    }

    async fn start(&self, event: Value) -> PortResult<()> {
        let call = || async {
            let sent = send(&self.road, "lambda", &Ask::Event(&self.path, &event)).await;
            sent?.success().map(drop)
        };
        self.patience.run(call).await
    }
}

/// As the function reads it.
fn event(restatement: &Restatement) -> Value {
    json!({
        "task": "restate",
        "from": restatement.from,
        "to": restatement.to,
        "dry_run": restatement.dry_run,
        "accept_lowering": restatement.accept_lowering,
        "asked_at_ms": restatement.asked_at_ms,
    })
}

#[cfg(test)]
mod tests {
    use clickledger_core::domain::time::Hour;

    use super::*;

    #[test]
    fn an_event_is_what_the_function_reads() {
        let fixture: Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/invoke_restate.json")).unwrap();
        let restatement = Restatement {
            from: Hour(490_920),
            to: Hour(490_922),
            dry_run: true,
            accept_lowering: false,
            asked_at_ms: Some(1_767_312_900_000),
        };
        assert_eq!(event(&restatement), fixture);
    }
}
