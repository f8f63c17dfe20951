//! The function `placement`: ads, placements and the impressions that are issued for them.
//!
//! Invariant: no impression is signed with a key that `click` may not know yet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clickledger_aws::{Aws, CatalogOptions, Patience, SystemClock, SystemEntropy, TokenKeysOptions};
use clickledger_core::domain::claim_life::ClaimLife;
use clickledger_core::ports::{AdCatalog, ApiKeys, Clock, Entropy};
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::key_ring::KeyRing;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::placements::PlacementsService;
use clickledger_lambda::upkeep::{Times, Upkeep};
use clickledger_lambda::{block_on, http, telemetry};

mod handler;

/// A new key signs 10 minutes after it was made: by then everybody must know it.
const KEYS: Times = Times {
    every: Duration::from_secs(300),
    overdue: Duration::from_secs(480),
    limit: Duration::from_secs(1),
    again: Duration::from_secs(15),
};

fn main() -> Result<()> {
    block_on(run())
}

async fn run() -> Result<()> {
    let telemetry = telemetry::start("placement")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let aws = Aws::from_env(Arc::clone(&clock)).await?;
    let options = CatalogOptions {
        read: Patience::START,
        ..CatalogOptions::default()
    };
    let catalog: Arc<dyn AdCatalog> = Arc::new(aws.catalog(None, options)?);
    let secret = aws.token_keys(TokenKeysOptions {
        patience: Patience::START,
        ..TokenKeysOptions::default()
    })?;
    let api_keys: Arc<dyn ApiKeys> = Arc::new(aws.keys(Patience::START)?);
    let ring = KeyRing::load(Arc::new(secret))
        .await
        .context("loading the token keys")?;
    let ring = Arc::new(ring);
    let ads = AdsService::new(Arc::clone(&catalog), Arc::clone(&clock), Arc::clone(&entropy));
    let placements = PlacementsService::new(
        catalog,
        Arc::clone(&ring),
        Arc::clone(&clock),
        Arc::clone(&entropy),
        ClaimLife::default().token_ms,
    );
    let keys = KeysService::new(api_keys, clock, entropy);
    let edge = clickledger_edge::config(&aws).await?;
    aws.warm(&["dynamodb"]).await;
    let router = handler::router(ads, placements, keys, edge);
    let refresh = move || handler::refresh(Arc::clone(&ring));
    let router = Upkeep::new(KEYS, refresh).beside(router);
    http::run(router, telemetry).await.map_err(|error| anyhow!(error))
}
