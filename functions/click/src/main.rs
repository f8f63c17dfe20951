//! The function `click`: judges, records and redirects.
//!
//! Invariant: everything that a click needs is loaded and connected before the first one comes.

mod handler;
mod last_resort;

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clickledger_aws::{Aws, CatalogOptions, Patience, SystemClock, SystemEntropy, TokenKeysOptions};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::service::click::{ClickConfig, ClickPorts, ClickService};
use clickledger_core::service::key_ring::KeyRing;
use clickledger_lambda::{block_on, http, telemetry};
use futures_util::join;

use crate::last_resort::LogRecords;

fn main() -> Result<()> {
    block_on(run())
}

async fn run() -> Result<()> {
    let telemetry = telemetry::start("click")?;
    let clock = Arc::new(SystemClock);
    let aws = Aws::in_function(clock.clone())?;
    let snapshot = aws.snapshot(Patience::START)?;
    let ports = ClickPorts {
        catalog: Arc::new(aws.catalog(Some(snapshot.clone()), CatalogOptions::default())?),
        claims: Arc::new(aws.claims(Patience::CLAIM).await?),
        stream: Arc::new(aws.stream(Patience::PUBLISH).await?),
        spill: Arc::new(aws.spill(Patience::SPILL)?),
        clock,
        entropy: Arc::new(SystemEntropy),
    };
    let secret = aws.token_keys(TokenKeysOptions {
        patience: Patience::START,
        ..TokenKeysOptions::default()
    })?;
    let (keys, loaded, edge, ()) = join!(
        KeyRing::load(Arc::new(secret)),
        snapshot.load(),
        clickledger_edge::config(&aws),
        aws.warm(&["dynamodb", "kinesis", "sqs"]),
    );
    if let Err(error) = loaded {
        tracing::warn!(%error, "starting without the catalogue's snapshot");
    }
    let keys = Arc::new(keys.context("loading the token keys")?);
    let config = ClickConfig::default();
    let click = ClickService::new(ports, Arc::clone(&keys), config, Mutation::default());
    let click = click.with_last_resort(Arc::new(LogRecords::to_stdout()));
    let router = handler::router(Arc::new(click), edge?);
    let router = handler::keep_up(router, keys, snapshot);
    http::run(router, telemetry).await.map_err(|error| anyhow!(error))
}
