//! What the runs work on.

use std::sync::Arc;

use clickledger_aws::{Aws, CatalogOptions, ConfigError, Patience, SystemClock, SystemEntropy};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::service::reconcile::{
    BeatConfig, BeatPorts, Beater, HeartbeatProof, HeartbeatProofPorts, Reconcile, ReconcileConfig,
    ReconcilePorts,
};

use crate::handler::OnAws;

/// The runs on these resources, of the function of this name.
///
/// # Errors
/// A name that is missing.
pub(crate) async fn runs(aws: &Aws, function: &str) -> Result<OnAws, ConfigError> {
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
        proof: Arc::new(HeartbeatProof::new(proof, 16, Mutation::default())),
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
        reconcile: Reconcile::new(ports, ReconcileConfig::default(), Mutation::default()),
        next: aws.reconcile_runs_of(function, patience).await?,
    })
}
