//! The routes of ads and placements behind the HTTP API.
//!
//! Invariant: whatever no route takes is answered with a problem document.

use std::sync::Arc;

use axum::Router;
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::key_ring::KeyRing;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::placements::PlacementsService;
use clickledger_http::{EdgeConfig, edge, placement_router};

/// The routes.
pub(crate) fn router(
    ads: AdsService,
    placements: PlacementsService,
    keys: KeysService,
    config: EdgeConfig,
) -> Router {
    let config = Arc::new(config);
    let part = placement_router(
        Arc::new(ads),
        Arc::new(placements),
        Arc::new(keys),
        Arc::clone(&config),
    );
    edge(part, &config)
}

/// Loads the keys again; says whether that is done.
pub(crate) async fn refresh(ring: Arc<KeyRing>) -> bool {
    let done = ring.refresh().await;
    done.inspect_err(|error| tracing::warn!(%error, "the token keys could not be loaded again"))
        .is_ok()
}

#[cfg(test)]
mod tests;
