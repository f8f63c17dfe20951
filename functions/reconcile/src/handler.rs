//! A schedule's event, or an operator's, to the run that it names.
//!
//! Invariant: an event that names no run that is known fails, and does nothing. What is too long for one invocation, a
//! restatement or a compaction, is handed on to the next one.

use async_trait::async_trait;
use clickledger_aws::LakeDay;
use clickledger_core::domain::correction::{HourReport, Outcome};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortError, PortResult};
use clickledger_core::service::reconcile::{Beaten, DailyRun, Restated, Restatement};
use serde::Deserialize;

/// No hour of a restatement is begun when less than this is left of an invocation, milliseconds: a busy hour takes minutes.
const LONGEST_HOUR_MS: i64 = 7 * 60_000;
/// The same of a day of a compaction: its query may take ten minutes, and is compared then.
const LONGEST_DAY_MS: i64 = 12 * 60_000;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case", deny_unknown_fields)]
enum Event {
    Heartbeat,
    Hourly,
    /// `accept_incomplete`: what the lake lacks is not waited for any more.
    Daily {
        #[serde(default)]
        accept_incomplete: bool,
    },
    /// Hours since the Unix epoch, `to` exclusive.
    Restate {
        from: i64,
        to: i64,
        #[serde(default)]
        dry_run: bool,
        #[serde(default)]
        accept_lowering: bool,
        /// Unix milliseconds.
        #[serde(default)]
        asked_at_ms: Option<i64>,
    },
    /// Days of arrivals, `yyyy-mm-dd`, `before` exclusive: those that the lake holds and that are not Parquet.
    Compact {
        #[serde(default)]
        from: Option<LakeDay>,
        before: LakeDay,
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
    async fn daily(&self, accept_incomplete: bool) -> PortResult<DailyRun>;
    /// Forgets heartbeats that nothing rests on any more; says how many.
    async fn forget_beats(&self) -> PortResult<usize>;
    /// No hour is begun at `until_ms` or later.
    async fn restate(&self, restatement: &Restatement, until_ms: i64) -> PortResult<Restated>;
    /// Has another invocation do it.
    async fn hand_on(&self, restatement: &Restatement) -> PortResult<()>;
    /// The first day of which nothing may be compacted, where the lake is proved complete up to this time (Unix
    /// milliseconds); `None`: nothing ever is.
    fn compacted_before(&self, proved_ms: i64) -> Option<LakeDay>;
    /// Makes days Parquet. No day is begun at `until_ms` or later.
    async fn compact(&self, from: Option<&LakeDay>, before: &LakeDay, until_ms: i64)
    -> PortResult<Compacted>;
    /// Has another invocation do it.
    async fn hand_on_compaction(&self, from: Option<&LakeDay>, before: &LakeDay) -> PortResult<()>;
}

/// What became of a compaction.
#[derive(Debug, Default)]
pub(crate) struct Compacted {
    /// Days that are Parquet now, each with its records.
    pub(crate) days: Vec<(LakeDay, u64)>,
    /// Days that could not be made so: they are read as they lie.
    pub(crate) failed: Vec<(LakeDay, PortError)>,
    /// Where the next invocation goes on.
    pub(crate) rest: Option<LakeDay>,
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
        Event::Daily { accept_incomplete } => {
            let run = runs.daily(accept_incomplete).await?;
            tell(&run.reports);
            if run.done {
                tracing::info!("the daily run is done");
                match runs.forget_beats().await {
                    Ok(forgotten) => tracing::info!(forgotten, "old heartbeats are forgotten"),
                    Err(error) => tracing::warn!(%error, "old heartbeats could not be forgotten"),
                }
            } else {
                tracing::warn!(detail = run.detail, "the daily run waits");
            }
            // The run is done: it is not to be made again for want of a compaction, which tomorrow's begins too.
            if run.done
                && let Some(before) = runs.compacted_before(run.cut_ms)
                && let Err(error) = runs.hand_on_compaction(None, &before).await
            {
                tracing::warn!(%error, "a compaction could not be begun");
            }
        }
        Event::Restate {
            from,
            to,
            dry_run,
            accept_lowering,
            asked_at_ms,
        } => {
            let restatement = Restatement {
                from: Hour(from),
                to: Hour(to),
                dry_run,
                accept_lowering,
                asked_at_ms,
            };
            let restated = runs.restate(&restatement, deadline_ms - LONGEST_HOUR_MS).await?;
            tell(&restated.reports);
            if let Some(rest) = restated.rest {
                runs.hand_on(&rest).await?;
                tracing::info!(from = rest.from.0, to = rest.to.0, "a restatement goes on");
            }
        }
        Event::Compact { from, before } => {
            let until_ms = deadline_ms - LONGEST_DAY_MS;
            let compacted = runs.compact(from.as_ref(), &before, until_ms).await?;
            for (day, records) in &compacted.days {
                tracing::info!(day = day.as_str(), records, "a day of the lake is Parquet");
            }
            for (day, error) in &compacted.failed {
                tracing::warn!(day = day.as_str(), %error, "a day of the lake could not be made Parquet");
            }
            if let Some(rest) = compacted.rest {
                runs.hand_on_compaction(Some(&rest), &before).await?;
                tracing::info!(from = rest.as_str(), "a compaction goes on");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use clickledger_core::domain::time::{DAY_MS, Day};

    use super::*;

    #[derive(Default)]
    struct Noted(Mutex<Vec<String>>, Option<i64>);

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
        async fn daily(&self, accept_incomplete: bool) -> PortResult<DailyRun> {
            self.note(if accept_incomplete {
                "daily of incomplete"
            } else {
                "daily"
            });
            let cut_ms = self.1.ok_or_else(|| PortError::unavailable("down"))?;
            Ok(DailyRun {
                done: cut_ms > 0,
                cut_ms,
                ..DailyRun::default()
            })
        }
        async fn forget_beats(&self) -> PortResult<usize> {
            self.note("forget beats");
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
        fn compacted_before(&self, proved_ms: i64) -> Option<LakeDay> {
            Some(LakeDay::of(Day::of(proved_ms - 2 * DAY_MS)))
        }
        async fn compact(
            &self,
            from: Option<&LakeDay>,
            before: &LakeDay,
            until_ms: i64,
        ) -> PortResult<Compacted> {
            let from = from.map_or("the first", LakeDay::as_str);
            self.note(&format!("compact {from} to {} until {until_ms}", before.as_str()));
            let day = |text| LakeDay::parse(text).unwrap();
            Ok(Compacted {
                days: vec![(day("2026-01-01"), 7)],
                failed: vec![(day("2026-01-02"), PortError::unavailable("down"))],
                rest: (from == "the first").then(|| day("2026-01-03")),
            })
        }
        async fn hand_on_compaction(&self, from: Option<&LakeDay>, before: &LakeDay) -> PortResult<()> {
            let from = from.map_or("the first", LakeDay::as_str);
            self.note(&format!("hand on compaction {from} to {}", before.as_str()));
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
            noted[3].contains("490922")
                && noted[3].contains("dry_run: true")
                && noted[3].contains("asked_at_ms: Some(1767312900000)"),
            "{noted:?}"
        );
        let until = format!("until {}", DEADLINE_MS - LONGEST_HOUR_MS);
        assert!(noted[3].ends_with(&until), "{noted:?}");
        assert_eq!(noted[4..], ["hand on 490921..490922"]);
    }

    #[tokio::test]
    async fn a_daily_run_that_is_done_has_old_days_compacted_as_far_as_the_lake_is_proved() {
        let cut_ms = 1_767_312_900_000; // 2026-01-02T00:15:00Z
        let runs = Noted(Mutex::default(), Some(cut_ms));
        work(&runs, r#"{"task":"daily"}"#, DEADLINE_MS).await.unwrap();
        let noted = runs.0.into_inner().unwrap();
        assert_eq!(
            noted,
            [
                "daily",
                "forget beats",
                "hand on compaction the first to 2025-12-31"
            ]
        );
        let waits = Noted(Mutex::default(), Some(0));
        work(&waits, r#"{"task":"daily"}"#, DEADLINE_MS).await.unwrap();
        let accepts = r#"{"task":"daily","accept_incomplete":true}"#;
        work(&waits, accepts, DEADLINE_MS).await.unwrap();
        assert_eq!(waits.0.into_inner().unwrap(), ["daily", "daily of incomplete"]);
    }

    #[tokio::test]
    async fn a_compaction_goes_on_where_the_time_ended() {
        let runs = Noted::default();
        for event in [
            r#"{"task":"compact","from":null,"before":"2026-01-05"}"#,
            r#"{"task":"compact","from":"2026-01-03","before":"2026-01-05"}"#,
        ] {
            work(&runs, event, DEADLINE_MS).await.unwrap();
        }
        let until_ms = DEADLINE_MS - LONGEST_DAY_MS;
        assert_eq!(
            runs.0.into_inner().unwrap(),
            [
                format!("compact the first to 2026-01-05 until {until_ms}"),
                "hand on compaction 2026-01-03 to 2026-01-05".to_owned(),
                format!("compact 2026-01-03 to 2026-01-05 until {until_ms}"),
            ]
        );
    }

    #[tokio::test]
    async fn an_event_that_names_none_does_nothing() {
        let runs = Noted::default();
        for event in [
            "{}",
            "null",
            r#"{"task":"snapshot"}"#,
            r#"{"task":"restate"}"#,
            r#"{"task":"daily","accept_incomplete":"perhaps"}"#,
            r#"{"task":"restate","from":1,"to":2,"force":true}"#,
            r#"{"task":"compact"}"#,
            r#"{"task":"compact","before":"yesterday"}"#,
            r#"{"task":"compact","from":"2026'01'01","before":"2026-01-05"}"#,
        ] {
            let failed = work(&runs, event, DEADLINE_MS).await;
            assert!(matches!(failed, Err(ReconcileError::NoTask(_))), "{event}");
        }
        assert!(runs.0.lock().unwrap().is_empty());
    }
}
