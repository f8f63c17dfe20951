//! The function `placement`: ads, placements and the impressions that are issued for them.
//!
//! Invariant: no impression is signed with a key that `click` may not know yet.

mod handler;

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clickledger_aws::{Aws, CatalogOptions, Patience, SystemClock, SystemEntropy, TokenKeysOptions};
use clickledger_core::domain::claim_life::ClaimLife;
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::impressions::ImpressionsService;
use clickledger_core::service::key_ring::KeyRing;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::placements::PlacementsService;
use clickledger_lambda::{block_on, http, telemetry};
use futures_util::join;

fn main() -> Result<()> {
    block_on(run())
}

async fn run() -> Result<()> {
    let telemetry = telemetry::start("placement")?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let aws = Aws::in_function(clock.clone())?;
    let options = CatalogOptions::unhurried(Patience::START);
    let catalog = Arc::new(aws.catalog(None, options)?);
    let api_keys = Arc::new(aws.keys(Patience::START)?);
    let secret = aws.token_keys(TokenKeysOptions {
        patience: Patience::START,
        ..TokenKeysOptions::default()
    })?;
    let (ring, edge, ()) = join!(
        KeyRing::load(Arc::new(secret)),
        clickledger_edge::config(&aws),
        aws.warm(&["dynamodb"]),
    );
    let ring = Arc::new(ring.context("loading the token keys")?);
    let token_ms = ClaimLife::default().token_ms;
    let router = handler::router(
        AdsService::new(catalog.clone(), clock.clone(), entropy.clone()),
        PlacementsService::new(catalog.clone(), clock.clone(), entropy.clone()),
        ImpressionsService::new(
            catalog,
            Arc::clone(&ring),
            clock.clone(),
            entropy.clone(),
            token_ms,
        ),
        KeysService::new(api_keys, clock, entropy).limited(clickledger_edge::rate_limits()?),
        edge?,
    );
    let router = handler::keep_up(router, ring);
    http::run(router, telemetry).await.map_err(|error| anyhow!(error))
}
