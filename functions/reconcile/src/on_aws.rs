//! The runs on AWS.

use async_trait::async_trait;
use clickledger_aws::{Compaction, LakeDay, ReconcileRuns};
use clickledger_core::domain::correction::HourReport;
use clickledger_core::domain::time::{DAY_MS, Day};
use clickledger_core::ports::{Clock, PortResult};
use clickledger_core::service::reconcile::{Beaten, Beater, DailyRun, Reconcile, Restated, Restatement};

use crate::handler::{Compacted, Runs};

/// What the runs are made with.
pub(crate) struct OnAws<C> {
    pub(crate) beater: Beater,
    pub(crate) reconcile: Reconcile,
    pub(crate) compaction: Compaction,
    /// How old a day must be; `None`: none is compacted.
    pub(crate) compact_after_days: Option<i64>,
    /// This function, by itself.
    pub(crate) next: ReconcileRuns,
    pub(crate) clock: C,
}

#[async_trait]
impl<C: Clock> Runs for OnAws<C> {
    async fn beat(&self) -> PortResult<Beaten> {
        self.beater.round().await
    }

    async fn hourly(&self) -> PortResult<Vec<HourReport>> {
        self.reconcile.hourly().await
    }

    async fn daily(&self, accept_incomplete: bool) -> PortResult<DailyRun> {
        match accept_incomplete {
            true => self.reconcile.daily_of_incomplete().await,
            false => self.reconcile.daily().await,
        }
    }

    async fn forget_beats(&self) -> PortResult<usize> {
        self.beater.forget().await
    }

    async fn restate(&self, restatement: &Restatement, until_ms: i64) -> PortResult<Restated> {
        self.reconcile.restate_until(restatement, until_ms).await
    }

    async fn hand_on(&self, restatement: &Restatement) -> PortResult<()> {
        self.next.restate(restatement).await
    }

    fn compacted_before(&self, proved_ms: i64) -> Option<LakeDay> {
        let days = self.compact_after_days?;
        Some(LakeDay::of(Day::of(
            proved_ms.saturating_sub(days.saturating_mul(DAY_MS)),
        )))
    }

    async fn compact(
        &self,
        from: Option<&LakeDay>,
        before: &LakeDay,
        until_ms: i64,
    ) -> PortResult<Compacted> {
        let mut compacted = Compacted::default();
        for day in self.compaction.days(from, before).await? {
            let now_ms = self.clock.now_ms();
            if now_ms >= until_ms {
                compacted.rest = Some(day);
                break;
            }
            match self.compaction.compact(&day, now_ms).await {
                Ok(Some(records)) => compacted.days.push((day, records)),
                Ok(None) => {}
                Err(error) => compacted.failed.push((day, error)),
            }
        }
        Ok(compacted)
    }

    async fn hand_on_compaction(&self, from: Option<&LakeDay>, before: &LakeDay) -> PortResult<()> {
        self.next.compact(from, before).await
    }
}
