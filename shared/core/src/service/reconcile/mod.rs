//! Reconcile: proves the counts of hours and days against the raw lake, seals them, and corrects them (DESIGN section 4,
//! points 8 to 10).
//!
//! Invariant: what readers see changes only by a conditional flip of a manifest, after every item of the new version is
//! written. Every run may die anywhere, overlap with others, and run twice; rulings on single clicks are for good.

mod age;
mod beat;
mod compare;
mod control;
mod daily;
mod days;
mod deltas;
mod hourly;
mod note;
mod owners;
mod promote;
mod proof;
mod report;
mod restate;
mod seal;
mod settled;
mod survey;
mod write;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{StreamExt, TryStreamExt, stream};

pub use self::beat::{BeatConfig, BeatPorts, Beaten, Beater};
pub use self::daily::DailyRun;
pub use self::proof::{HeartbeatProof, HeartbeatProofPorts, LakeProof, PositionProof};
pub use self::restate::{Restated, Restatement};
use crate::domain::claim_life::ClaimLife;
use crate::domain::manifest::Manifest;
use crate::domain::mutation::Mutation;
use crate::domain::time::{DAY_MS, Hour};
use crate::ports::{
    AdCatalog, BucketStore, ClaimStore, Clock, Entropy, Job, LakeReader, Lease, Leases, Manifests,
    PortResult, Rulings, SealReports, SealedCounts,
};

/// The ports of [`Reconcile`].
#[derive(Clone)]
pub struct ReconcilePorts {
    /// What is recounted.
    pub lake: Arc<dyn LakeReader>,
    /// Whether it is complete.
    pub proof: Arc<dyn LakeProof>,
    /// For clicks that came unclaimed.
    pub claims: Arc<dyn ClaimStore>,
    /// What was counted live.
    pub buckets: Arc<dyn BucketStore>,
    /// Whose clicks may have been counted though the lake has none.
    pub catalog: Arc<dyn AdCatalog>,
    /// What readers look at first.
    pub manifests: Arc<dyn Manifests>,
    /// Who is at which job.
    pub leases: Arc<dyn Leases>,
    /// Decisions on single clicks.
    pub rulings: Arc<dyn Rulings>,
    /// Where sealed hours and days are written.
    pub counts: Arc<dyn SealedCounts>,
    /// Where corrections and reports are kept.
    pub reports: Arc<dyn SealReports>,
    /// Says what is over.
    pub clock: Arc<dyn Clock>,
    /// Names runs.
    pub entropy: Arc<dyn Entropy>,
}

/// The numbers of [`Reconcile`].
#[derive(Debug, Clone, Copy)]
pub struct ReconcileConfig {
    /// L, as [`AggregateConfig`](super::aggregate::AggregateConfig) has it, milliseconds.
    pub late_after_ms: i64,
    /// By how much clocks and arrival times may be off, milliseconds.
    pub slack_ms: i64,
    /// Lifetimes of tokens and claims.
    pub life: ClaimLife,
    /// Rows of a recount that are sealed in one step; at least 61 (an entity's hour is never cut).
    pub slice_rows: usize,
    /// Items of one read.
    pub page: usize,
    /// Calls of a store at the same time.
    pub at_once: usize,
    /// How long a run that died is waited for, milliseconds.
    pub lease_ms: i64,
    /// How often a run begins anew where its ground has changed under it.
    pub tries: usize,
    /// How far back missed hours are caught up, milliseconds.
    pub catch_up_ms: i64,
    /// How far back hours are looked after: told of while they are not sealed, closed, and what is behind them forgotten,
    /// milliseconds.
    pub history_ms: i64,
    /// Age at which a sealed hour is closed, milliseconds after its end.
    pub close_after_ms: i64,
    /// Age at which a sealed hour's partials are forgotten, milliseconds after its end.
    pub keep_partials_ms: i64,
    /// For how long an old version stays after the new one became visible: some reader may be in the midst of it.
    pub keep_versions_ms: i64,
}

impl Default for ReconcileConfig {
    /// As [`AggregateConfig`](super::aggregate::AggregateConfig); 14 days are caught up, hours are closed after 35 days,
    /// partials are kept for 45.
    fn default() -> Self {
        Self {
            late_after_ms: 5 * 60_000,
            slack_ms: 60_000,
            life: ClaimLife::default(),
            slice_rows: 10_000,
            page: 1000,
            at_once: 32,
            lease_ms: 5 * 60_000,
            tries: 3,
            catch_up_ms: 14 * DAY_MS,
            history_ms: 400 * DAY_MS,
            close_after_ms: 35 * DAY_MS,
            keep_partials_ms: 45 * DAY_MS,
            keep_versions_ms: 3_600_000,
        }
    }
}

/// Proves, seals, corrects.
pub struct Reconcile {
    ports: ReconcilePorts,
    config: ReconcileConfig,
    mutation: Mutation,
}

/// Makes the calls, some at once; answers in their order.
async fn each<T, F>(calls: Vec<F>, at_once: usize) -> PortResult<Vec<T>>
where
    F: Future<Output = PortResult<T>>,
{
    stream::iter(calls).buffered(at_once.max(1)).try_collect().await
}

impl Reconcile {
    /// Over these ports.
    pub fn new(ports: ReconcilePorts, config: ReconcileConfig, mutation: Mutation) -> Self {
        Self {
            ports,
            config,
            mutation,
        }
    }

    fn now_ms(&self) -> i64 {
        self.ports.clock.now_ms()
    }

    fn until_ms(&self) -> i64 {
        self.now_ms() + self.config.lease_ms
    }

    /// Takes a job under a name that nobody else has.
    async fn take(&self, job: Job) -> PortResult<Option<Lease>> {
        let mut random = [0; 12];
        self.ports.entropy.fill(&mut random);
        let holder = URL_SAFE_NO_PAD.encode(random);
        let leases = &self.ports.leases;
        match leases.take(job, &holder, self.now_ms(), self.until_ms()).await {
            // Perhaps it is ours: only by the same name it can be told.
            Err(error) if error.is_retryable() => {
                leases.take(job, &holder, self.now_ms(), self.until_ms()).await
            }
            answer => answer,
        }
    }

    /// Gives a job back. If that fails its time runs out.
    async fn release(&self, lease: &Lease, note: Option<&str>) {
        if let Err(error) = self.ports.leases.release(lease, note).await {
            tracing::warn!(job = ?lease.job, %error, "a job could not be given back");
        }
    }

    async fn manifest(&self, hour: Hour) -> PortResult<Manifest> {
        let stored = self.ports.manifests.hours(hour, Hour(hour.0 + 1)).await?;
        Ok(stored.into_iter().next().unwrap_or_else(|| Manifest::open(hour)))
    }

    /// When an hour can be proved: whatever is on time has arrived.
    fn ripe_ms(&self, hour: Hour) -> i64 {
        hour.end_ms() + self.config.late_after_ms + self.config.slack_ms
    }

    /// The last hour that was ripe at this time.
    fn last_ripe(&self, at_ms: i64) -> Hour {
        Hour(Hour::of(at_ms - self.config.late_after_ms - self.config.slack_ms).0 - 1)
    }
}
