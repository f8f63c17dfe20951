//! What functions load again while they serve: the token keys, and the catalogue's snapshot.
//!
//! Invariant: no request waits for it unless it is overdue, and then not longer than the limit.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clickledger_aws::Snapshot;
use clickledger_core::service::key_ring::KeyRing;
use clickledger_lambda::upkeep::{Times, Upkeep};

/// The router, with the token keys loaded again beside its requests, of which none waits longer than `limit` for it.
pub fn with_fresh_token_keys(router: Router, keys: Arc<KeyRing>, limit: Duration) -> Router {
    // A new key signs 10 minutes after it was made: by then everybody must know it.
    let times = Times {
        every: Duration::from_secs(300),
        overdue: Duration::from_secs(480),
        limit,
        again: Duration::from_secs(15),
    };
    let refresh = move || {
        let keys = Arc::clone(&keys);
        async move {
            let done = keys.refresh().await;
            done.inspect_err(|error| tracing::warn!(%error, "the token keys could not be loaded again"))
                .is_ok()
        }
    };
    Upkeep::new(times, refresh).beside(router)
}

/// The router, with the catalogue's snapshot loaded again beside its requests, of which none waits longer than `limit` for it.
pub fn with_fresh_snapshot(router: Router, snapshot: Snapshot, limit: Duration) -> Router {
    // It is written every minute.
    let times = Times {
        every: Duration::from_secs(55),
        overdue: Duration::from_secs(180),
        limit,
        again: Duration::from_secs(15),
    };
    let refresh = move || {
        let snapshot = snapshot.clone();
        async move {
            let done = snapshot.load().await;
            done.inspect_err(
                |error| tracing::warn!(%error, "the catalogue's snapshot could not be loaded again"),
            )
            .is_ok()
        }
    };
    Upkeep::new(times, refresh).beside(router)
}
