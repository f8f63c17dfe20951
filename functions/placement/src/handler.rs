//! The routes of ads and placements behind the HTTP API.
//!
//! Invariant: whatever no route takes is answered with a problem document; no impression is signed with keys that are overdue
//! to be loaded again, unless they cannot be.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::impressions::ImpressionsService;
use clickledger_core::service::key_ring::KeyRing;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::placements::PlacementsService;
use clickledger_edge::with_fresh_token_keys;
use clickledger_http::{EdgeConfig, edge, placement_router};

/// How long a request waits for keys that are overdue.
const LIMIT: Duration = Duration::from_secs(1);

/// The routes.
pub(crate) fn router(
    ads: AdsService,
    placements: PlacementsService,
    impressions: ImpressionsService,
    keys: KeysService,
    config: EdgeConfig,
) -> Router {
    let config = Arc::new(config);
    let part = placement_router(
        Arc::new(ads),
        Arc::new(placements),
        Arc::new(impressions),
        Arc::new(keys),
        Arc::clone(&config),
    );
    edge(part, &config)
}

/// The router, with the token keys loaded again beside its requests.
pub(crate) fn keep_up(router: Router, ring: Arc<KeyRing>) -> Router {
    with_fresh_token_keys(router, ring, LIMIT)
}

#[cfg(test)]
mod tests;
