//! Reconcile over a data folder: the same in `serve`, in `demo` and on a folder that no server has open.

use std::sync::Arc;

use clickledger_core::domain::mutation::Mutation;
use clickledger_core::ports::Clock;
use clickledger_core::service::reconcile::{PositionProof, Reconcile, ReconcileConfig, ReconcilePorts};
use clickledger_embedded::{Embedded, SystemEntropy};

/// A folder has one process at a time, so a run that died is waited for only as long as its process may take to end.
const LEASE_MS: i64 = 5000;

/// The service, where hours are closed at the age that is the default.
pub(crate) fn reconcile(store: &Embedded, clock: Arc<dyn Clock>) -> Reconcile {
    let close_after_ms = ReconcileConfig::default().close_after_ms;
    reconcile_that_closes(store, clock, close_after_ms)
}

/// The service.
pub(crate) fn reconcile_that_closes(
    store: &Embedded,
    clock: Arc<dyn Clock>,
    close_after_ms: i64,
) -> Reconcile {
    let seals = Arc::new(store.seals());
    let ports = ReconcilePorts {
        lake: Arc::new(store.lake_reader()),
        proof: Arc::new(PositionProof::new(Arc::new(store.stream()), clock.clone())),
        claims: Arc::new(store.claims()),
        buckets: Arc::new(store.buckets()),
        catalog: Arc::new(store.catalog()),
        manifests: seals.clone(),
        leases: seals.clone(),
        rulings: seals.clone(),
        counts: seals.clone(),
        reports: seals,
        clock,
        entropy: Arc::new(SystemEntropy),
    };
    let config = ReconcileConfig {
        lease_ms: LEASE_MS,
        close_after_ms,
        ..ReconcileConfig::default()
    };
    Reconcile::new(ports, config, Mutation::default())
}
