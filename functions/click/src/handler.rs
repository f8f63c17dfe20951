//! `/click` behind the HTTP API, and what it keeps up to date meanwhile.
//!
//! Invariant: no click waits for keys or ads to be loaded again, unless they are overdue, and then not longer than a click may.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clickledger_aws::Snapshot;
use clickledger_core::service::click::ClickService;
use clickledger_core::service::key_ring::KeyRing;
use clickledger_http::{EdgeConfig, click_router, edge};
use clickledger_lambda::upkeep::{Times, Upkeep};

/// A new key signs 10 minutes after it was made: by then everybody must know it.
const KEYS: Times = Times {
    every: Duration::from_secs(300),
    overdue: Duration::from_secs(480),
    limit: Duration::from_millis(250),
    again: Duration::from_secs(15),
};
/// The snapshot is written every minute.
const ADS: Times = Times {
    every: Duration::from_secs(55),
    overdue: Duration::from_secs(180),
    ..KEYS
};

/// The route.
pub(crate) fn router(click: Arc<ClickService>, config: EdgeConfig) -> Router {
    let config = Arc::new(config);
    edge(click_router(click, Arc::clone(&config)), &config)
}

/// The router, with the keys and the catalogue's snapshot loaded again beside its requests.
pub(crate) fn keep_up(router: Router, keys: Arc<KeyRing>, snapshot: Snapshot) -> Router {
    let refresh_keys = move || {
        let keys = Arc::clone(&keys);
        async move {
            let done = keys.refresh().await;
            done.inspect_err(|error| tracing::warn!(%error, "the token keys could not be loaded again"))
                .is_ok()
        }
    };
    let refresh_ads = move || {
        let snapshot = snapshot.clone();
        async move {
            let done = snapshot.load().await;
            done.inspect_err(
                |error| tracing::warn!(%error, "the catalogue's snapshot could not be loaded again"),
            )
            .is_ok()
        }
    };
    let router = Upkeep::new(KEYS, refresh_keys).beside(router);
    Upkeep::new(ADS, refresh_ads).beside(router)
}

#[cfg(test)]
mod tests;
