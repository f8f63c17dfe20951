//! `/click` behind the HTTP API, and what it keeps up to date meanwhile.
//!
//! Invariant: no click waits for keys or ads to be loaded again, unless they are overdue, and then not longer than a click may.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clickledger_aws::Snapshot;
use clickledger_core::service::click::ClickService;
use clickledger_core::service::key_ring::KeyRing;
use clickledger_edge::{with_fresh_snapshot, with_fresh_token_keys};
use clickledger_http::{EdgeConfig, click_router, edge};

/// A click has a second in all.
const LIMIT: Duration = Duration::from_millis(250);

/// The route.
pub(crate) fn router(click: Arc<ClickService>, config: EdgeConfig) -> Router {
    let config = Arc::new(config);
    edge(click_router(click, Arc::clone(&config)), &config)
}

/// The router, with the keys and the catalogue's snapshot loaded again beside its requests.
pub(crate) fn keep_up(router: Router, keys: Arc<KeyRing>, snapshot: Snapshot) -> Router {
    with_fresh_snapshot(with_fresh_token_keys(router, keys, LIMIT), snapshot, LIMIT)
}

#[cfg(test)]
mod tests;
