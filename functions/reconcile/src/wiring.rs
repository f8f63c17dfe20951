//! What the runs work on.

use std::sync::Arc;

use anyhow::Result;
use clickledger_aws::{Aws, CatalogOptions, Patience, SystemClock, SystemEntropy};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::time::DAY_MS;
use clickledger_core::service::reconcile::{
    BeatConfig, BeatPorts, Beater, HeartbeatProof, HeartbeatProofPorts, Reconcile, ReconcileConfig,
    ReconcilePorts,
};
use clickledger_lambda::config;

use crate::on_aws::OnAws;

/// How long Firehose gathers an object where nothing is said, seconds.
const BUFFER_SECONDS: u64 = 300;
/// Heartbeats that all come are a minute apart, and a schedule is a little early or late.
const SHORTEST_GAP_SECONDS: u64 = 120;
/// Age at which a day of the lake is made Parquet where nothing is said.
const COMPACT_AFTER_DAYS: u64 = 2;

/// Longer than anything is kept, milliseconds: a time that is added to others without harm.
const LONGEST_MS: i64 = i64::MAX / 4;

/// The runs on these resources, of the function of this name.
///
/// # Errors
/// A name that is missing, or a setting that is no number.
pub(crate) async fn runs(aws: &Aws, function: &str) -> Result<OnAws<SystemClock>> {
    let buffer_seconds = config::number("CLICKLEDGER_LAKE_BUFFER_SECONDS")?.unwrap_or(BUFFER_SECONDS);
    let longest_gap_ms = i64::try_from(buffer_seconds.max(SHORTEST_GAP_SECONDS))?.saturating_mul(1_000);
    let after = config::number("CLICKLEDGER_LAKE_COMPACT_AFTER_DAYS")?.unwrap_or(COMPACT_AFTER_DAYS);
    let compact_after_days = i64::try_from(after)?;
    let mut sealing = ReconcileConfig::default();
    if let Some(days) = config::number("CLICKLEDGER_CLOSE_AFTER_DAYS")? {
        sealing.close_after_ms = i64::try_from(days)?.saturating_mul(DAY_MS).min(LONGEST_MS);
    }
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let patience = Patience::UNHURRIED;
    let hours = Arc::new(aws.hours(patience)?);
    let shards = Arc::new(aws.shards(patience)?);
    let lake = Arc::new(aws.lake(patience).await?);
    let beats = BeatPorts {
        shards: shards.clone(),
        heartbeats: Arc::new(aws.beats(patience)?),
        log: hours.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let proof = HeartbeatProofPorts {
        shards,
        log: hours.clone(),
        lanes: Arc::new(aws.lanes(patience)?),
        lake: lake.clone(),
        clock: clock.clone(),
    };
    let ports = ReconcilePorts {
        lake,
        proof: Arc::new(HeartbeatProof::new(
            proof,
            longest_gap_ms,
            16,
            Mutation::default(),
        )),
        claims: Arc::new(aws.claims(patience).await?),
        buckets: Arc::new(aws.buckets(patience)?),
        catalog: Arc::new(aws.catalog(None, CatalogOptions::default())?),
        manifests: hours.clone(),
        leases: hours.clone(),
        rulings: hours.clone(),
        counts: Arc::new(aws.sealed_counts(patience)?),
        reports: hours,
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    Ok(OnAws {
        beater: Beater::new(beats, BeatConfig::default()),
        reconcile: Reconcile::new(ports, sealing, Mutation::default()),
        compaction: aws.compaction(patience).await?,
        compact_after_days: Some(compact_after_days).filter(|days| *days > 0),
        next: aws.reconcile_runs_of(function, patience).await?,
        clock: SystemClock,
    })
}
