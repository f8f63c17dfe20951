//! A schedule's event, or an operator's, to the run that it names.
//!
//! Invariant: an event that names no run that is known fails, and does nothing. A restatement that is too long for one
//! invocation is handed on to the next one.

use async_trait::async_trait;
use clickledger_aws::ReconcileRuns;
use clickledger_core::domain::correction::{HourReport, Outcome};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortError, PortResult};
use clickledger_core::service::reconcile::{Beaten, Beater, DailyRun, Reconcile, Restated, Restatement};
use serde::Deserialize;

/// No hour of a restatement is begun when less than this is left of an invocation, milliseconds: a busy hour takes minutes.
const LONGEST_HOUR_MS: i64 = 7 * 60_000;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case", deny_unknown_fields)]
enum Event {
    Heartbeat,
    Hourly,
    Daily,
    /// Hours since the Unix epoch, `to` exclusive.
    Restate {
        from: i64,
        to: i64,
        #[serde(default)]
        dry_run: bool,
        #[serde(default)]
        accept_lowering: bool,
    },
}

/// Why a run was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// No such run.
    #[error("the event names no task: {0}")]
    NoTask(#[from] serde_json::Error),
    /// A port.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The runs.
#[async_trait]
pub(crate) trait Runs: Send + Sync {
    async fn beat(&self) -> PortResult<Beaten>;
    async fn hourly(&self) -> PortResult<Vec<HourReport>>;
    async fn daily(&self) -> PortResult<DailyRun>;
    /// No hour is begun at `until_ms` or later.
    async fn restate(&self, restatement: &Restatement, until_ms: i64) -> PortResult<Restated>;
    /// Has another invocation do it.
    async fn hand_on(&self, restatement: &Restatement) -> PortResult<()>;
}

/// The runs on AWS.
pub(crate) struct OnAws {
    pub(crate) beater: Beater,
    pub(crate) reconcile: Reconcile,
    /// This function, by itself.
    pub(crate) next: ReconcileRuns,
}

#[async_trait]
impl Runs for OnAws {
    async fn beat(&self) -> PortResult<Beaten> {
        self.beater.round().await
    }
    async fn hourly(&self) -> PortResult<Vec<HourReport>> {
        self.reconcile.hourly().await
    }
    async fn daily(&self) -> PortResult<DailyRun> {
        self.reconcile.daily().await
    }
    async fn restate(&self, restatement: &Restatement, until_ms: i64) -> PortResult<Restated> {
        self.reconcile.restate_until(restatement, until_ms).await
    }
    async fn hand_on(&self, restatement: &Restatement) -> PortResult<()> {
        self.next.restate(restatement).await
    }
}

/// One line for each hour that somebody may want to know of.
fn tell(reports: &[HourReport]) {
    for report in reports {
        let (outcome, hour) = (report.outcome.as_str(), report.hour.0);
        let (difference, corrections) = (report.difference(), report.corrections);
        let detail = &*report.detail;
        if report.outcome == Outcome::Disputed {
            tracing::error!(hour, outcome, difference, detail, "an hour is disputed");
        } else {
            tracing::info!(
                hour,
                outcome,
                difference,
                corrections,
                detail,
                "an hour was looked at"
            );
        }
    }
}

/// Works one event of an invocation that is ended at `deadline_ms`.
///
/// # Errors
/// [`ReconcileError`]
pub(crate) async fn work(runs: &impl Runs, event: &str, deadline_ms: i64) -> Result<(), ReconcileError> {
    match serde_json::from_str(event)? {
        Event::Heartbeat => {
            let beaten = runs.beat().await?;
            if beaten.missed > 0 {
                tracing::warn!(missed = beaten.missed, "shards without a heartbeat this minute");
            }
        }
        Event::Hourly => tell(&runs.hourly().await?),
        Event::Daily => {
            let run = runs.daily().await?;
            tell(&run.reports);
            tracing::info!(done = run.done, detail = run.detail, "the daily run");
        }
        Event::Restate {
            from,
            to,
            dry_run,
            accept_lowering,
        } => {
            let restatement = Restatement {
                from: Hour(from),
                to: Hour(to),
                dry_run,
                accept_lowering,
            };
            let restated = runs.restate(&restatement, deadline_ms - LONGEST_HOUR_MS).await?;
            tell(&restated.reports);
            if let Some(rest) = restated.rest {
                runs.hand_on(&rest).await?;
                tracing::info!(from = rest.from.0, to = rest.to.0, "a restatement goes on");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Noted(Mutex<Vec<String>>);

    impl Noted {
        fn note(&self, run: &str) {
            self.0.lock().unwrap().push(run.to_owned());
        }
    }

    #[async_trait]
    impl Runs for Noted {
        async fn beat(&self) -> PortResult<Beaten> {
            self.note("beat");
            Ok(Beaten {
                acknowledged: 1,
                missed: 1,
            })
        }
        async fn hourly(&self) -> PortResult<Vec<HourReport>> {
            self.note("hourly");
            Ok(Vec::new())
        }
        async fn daily(&self) -> PortResult<DailyRun> {
            self.note("daily");
            Err(PortError::unavailable("down"))
        }
        async fn restate(&self, restatement: &Restatement, until_ms: i64) -> PortResult<Restated> {
            self.note(&format!("{restatement:?} until {until_ms}"));
            let next = Hour(restatement.from.0 + 1);
            Ok(Restated {
                reports: Vec::new(),
                rest: (next < restatement.to).then_some(Restatement {
                    from: next,
                    ..*restatement
                }),
            })
        }
        async fn hand_on(&self, restatement: &Restatement) -> PortResult<()> {
            self.note(&format!("hand on {}..{}", restatement.from.0, restatement.to.0));
            Ok(())
        }
    }

    const DEADLINE_MS: i64 = 1_767_312_900_000;

    #[tokio::test]
    async fn an_event_makes_the_run_that_it_names() {
        let runs = Noted::default();
        let event = include_str!("../../../tests/fixtures/schedule_heartbeat.json");
        assert!(work(&runs, event, DEADLINE_MS).await.is_ok());
        assert!(work(&runs, r#"{"task":"hourly"}"#, DEADLINE_MS).await.is_ok());
        let failed = work(&runs, r#"{"task":"daily"}"#, DEADLINE_MS).await;
        assert!(matches!(failed, Err(ReconcileError::Port(_))));
        let restate = include_str!("../../../tests/fixtures/invoke_restate.json");
        assert!(work(&runs, restate, DEADLINE_MS).await.is_ok());
        let noted = runs.0.lock().unwrap();
        assert_eq!(noted[..3], ["beat", "hourly", "daily"]);
        assert!(
            noted[3].contains("490922") && noted[3].contains("dry_run: true"),
            "{noted:?}"
        );
        let until = format!("until {}", DEADLINE_MS - LONGEST_HOUR_MS);
        assert!(noted[3].ends_with(&until), "{noted:?}");
        assert_eq!(noted[4..], ["hand on 490921..490922"]);
    }

    #[tokio::test]
    async fn an_event_that_names_none_does_nothing() {
        let runs = Noted::default();
        for event in [
            "{}",
            "null",
            r#"{"task":"snapshot"}"#,
            r#"{"task":"restate"}"#,
            r#"{"task":"restate","from":1,"to":2,"force":true}"#,
        ] {
            let failed = work(&runs, event, DEADLINE_MS).await;
            assert!(matches!(failed, Err(ReconcileError::NoTask(_))), "{event}");
        }
        assert!(runs.0.lock().unwrap().is_empty());
    }
}
