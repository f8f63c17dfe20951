//! The function `query`: advertisers' metrics, reconciliations, API keys and sessions, how the whole stands, health, and the API's
//! description.
//!
//! Invariant: it changes nothing but API keys and sessions, and holds no key that signs impressions. What is recounted is so by
//! `reconcile`.

mod handler;
mod restatements;

use std::sync::Arc;

use anyhow::{Result, anyhow};
use clickledger_aws::{Aws, CatalogOptions, Patience, SystemClock, SystemEntropy};
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::{CountStores, MetricsConfig, MetricsService};
use clickledger_core::service::operations::{OperationsPorts, OperationsService};
use clickledger_core::service::placements::PlacementsService;
use clickledger_core::service::reconciliations::ReconciliationsService;
use clickledger_lambda::{block_on, http, telemetry};
use futures_util::join;

use crate::handler::Query;
use crate::restatements::ByFunction;

fn main() -> Result<()> {
    block_on(run())
}

async fn run() -> Result<()> {
    let telemetry = telemetry::start("query")?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let aws = Aws::in_function(clock.clone())?;
    let options = CatalogOptions::unhurried(Patience::START);
    let catalog = Arc::new(aws.catalog(None, options)?);
    let hours = Arc::new(aws.hours(Patience::UNHURRIED)?);
    let runs = aws.reconcile_runs(Patience::UNHURRIED).await?;
    let stores = CountStores {
        buckets: Arc::new(aws.buckets(Patience::UNHURRIED)?),
        manifests: hours.clone(),
        sealed: Arc::new(aws.sealed_counts(Patience::UNHURRIED)?),
    };
    let operations = OperationsPorts {
        buckets: stores.buckets.clone(),
        manifests: stores.manifests.clone(),
        reports: Arc::new(aws.hours(Patience::UNHURRIED)?),
        gauges: Arc::new(aws.gauges(Patience::UNHURRIED)?),
        measurements: Arc::new(
            aws.measurements(telemetry::namespace(), Patience::UNHURRIED)
                .await?,
        ),
        clock: clock.clone(),
    };
    let api_keys = Arc::new(aws.keys(Patience::START)?);
    let (edge, ()) = join!(clickledger_edge::config(&aws), aws.warm(&["dynamodb"]));
    let query = Query {
        metrics: MetricsService::new(stores, clock.clone(), MetricsConfig::default()),
        reconciliations: ReconciliationsService::new(hours.clone(), hours),
        restatements: Arc::new(ByFunction(runs)),
        ads: AdsService::new(catalog.clone(), clock.clone(), entropy.clone()),
        placements: PlacementsService::new(catalog.clone(), clock.clone(), entropy.clone()),
        keys: KeysService::new(api_keys, clock.clone(), entropy).limited(clickledger_edge::rate_limits()?),
        operations: OperationsService::new(operations),
        catalog,
        clock,
    };
    let router = handler::router(query, edge?);
    http::run(router, telemetry).await.map_err(|error| anyhow!(error))
}
