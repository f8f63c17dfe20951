//! Sealing beside requests: hours that are over are proved and sealed, days once a day, past ranges when somebody asks.
//!
//! Invariant: one run at a time. A run that is cut off when the server stops, or is killed, is taken up by the next start;
//! missed hours and days are caught up then. What was asked for and not begun does not outlive the process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clickledger_core::domain::correction::{HourReport, Outcome};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortError, PortResult};
use clickledger_core::service::reconcile::{Reconcile, Restatement};
use clickledger_embedded::LakeFolder;
use clickledger_http::Restatements;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// How many restatements may wait.
const WAITING: usize = 16;
/// How often a restatement is begun anew where it fails, and how long it is waited before.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_secs(2);
/// How soon a run that failed is tried again, at most.
const RETRY: Duration = Duration::from_secs(10);

/// Takes what is asked for.
pub(super) struct Orders(mpsc::Sender<Restatement>);

#[async_trait]
impl Restatements for Orders {
    async fn start(&self, order: Restatement) -> PortResult<()> {
        let sent = self.0.try_send(order);
        sent.map_err(|_| PortError::unavailable("as many restatements as can wait are waiting"))
    }
}

/// A place for what is asked for, and where it comes out.
pub(super) fn orders() -> (Orders, mpsc::Receiver<Restatement>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Orders(sender), receiver)
}

/// Compaction of old hours of the lake.
pub(super) struct Compaction {
    pub(super) lake: LakeFolder,
    /// How old an hour must be.
    pub(super) after: Duration,
}

impl Compaction {
    /// Compacts what the lake is proved complete for: nothing is appended to it any more.
    async fn run(&self, proved_ms: i64) {
        let after_ms = i64::try_from(self.after.as_millis()).unwrap_or(i64::MAX);
        let before = Hour::of(proved_ms.saturating_sub(after_ms).max(0));
        let hours = match self.lake.uncompacted(before).await {
            Ok(hours) => hours,
            Err(error) => return tracing::warn!(%error, "the lake could not be looked at for compaction"),
        };
        let (mut compacted, mut records) = (0_u64, 0);
        for hour in hours {
            match self.lake.compact(hour).await {
                Ok(moved) => {
                    compacted += 1;
                    records += moved;
                }
                // It lies as it lay, and is as good.
                Err(error) => {
                    tracing::warn!(hour = hour.0, %error, "an hour of the lake could not be compacted");
                }
            }
        }
        if compacted > 0 {
            tracing::info!(hours = compacted, records, "hours of the lake were compacted");
        }
    }
}

/// The work.
pub(super) struct Sealing {
    pub(super) reconcile: Arc<Reconcile>,
    /// Here, since nobody reads the lake meanwhile.
    pub(super) compaction: Option<Compaction>,
    /// How often hours that are over are looked for; `None`: never.
    pub(super) every: Option<Duration>,
    pub(super) orders: mpsc::Receiver<Restatement>,
}

impl Sealing {
    /// Works until it is told to stop. It may be cut off at any time.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        let mut next = Instant::now();
        loop {
            let due = async {
                match self.every {
                    Some(_) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(order) = self.orders.recv() => restate(&self.reconcile, &order).await,
                () = due => {
                    let every = self.every.unwrap_or(RETRY);
                    let pause = if self.scheduled().await { every } else { every.min(RETRY) };
                    next = Instant::now() + pause;
                }
            }
        }
    }

    /// The hourly run, and the daily one where it is due; says whether nothing failed.
    async fn scheduled(&self) -> bool {
        let hourly = self.reconcile.hourly().await;
        let mut done = match &hourly {
            Ok(reports) => {
                told("hourly", reports);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the hourly run failed");
                false
            }
        };
        match self.daily().await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "the daily run failed");
                done = false;
            }
        }
        done
    }

    async fn daily(&self) -> PortResult<()> {
        if self.reconcile.is_daily_due().await? {
            let run = self.reconcile.daily().await?;
            told("daily", &run.reports);
            if run.done {
                tracing::info!("the daily run is done");
                if let Some(compaction) = &self.compaction {
                    compaction.run(run.cut_ms).await;
                }
            }
        }
        Ok(())
    }
}

async fn restate(reconcile: &Reconcile, order: &Restatement) {
    for tried in 1..=TRIES {
        match reconcile.restate(order).await {
            Ok(reports) => return told("restatement", &reports),
            Err(error) => tracing::warn!(%error, tried, "a restatement failed"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::error!(from = order.from.0, to = order.to.0, "a restatement was given up");
}

/// One line for each hour that changed or is in dispute.
fn told(run: &str, reports: &[HourReport]) {
    for report in reports {
        match report.outcome {
            Outcome::Sealed | Outcome::Adjusted => tracing::info!(
                run,
                hour = report.hour.0,
                outcome = report.outcome.as_str(),
                clicks = report.lake.clicks,
                difference = report.difference(),
                corrections = report.corrections,
                "an hour was sealed"
            ),
            Outcome::Disputed => tracing::error!(
                run,
                hour = report.hour.0,
                detail = report.detail,
                "an hour is disputed"
            ),
            Outcome::Unchanged | Outcome::Waiting | Outcome::Overtaken | Outcome::Shown => {}
        }
    }
}
