//! What works beside requests over a data folder, joined to its ports: the same in `serve` and in `demo`.

use std::sync::Arc;

use clickledger_core::domain::mutation::Mutation;
use clickledger_core::ports::Clock;
use clickledger_core::service::aggregate::{Aggregate, AggregateConfig, AggregatePorts};
use clickledger_core::service::maintenance::{Maintenance, MaintenanceConfig, MaintenancePorts};
use clickledger_core::service::settle::{Settle, SettlePorts};
use clickledger_embedded::Embedded;

/// Records of one batch. Here a batch has no deadline, and every one costs commits.
pub(crate) const BATCH: usize = 10_000;

/// What counts.
pub(crate) fn aggregate(store: &Embedded, clock: Arc<dyn Clock>) -> Aggregate {
    let ports = AggregatePorts {
        claims: Arc::new(store.claims()),
        buckets: Arc::new(store.buckets()),
        lanes: Arc::new(store.lanes()),
        shards: Arc::new(store.stream()),
        quarantine: Arc::new(store.quarantine()),
        seals: Arc::new(store.seals()),
        catalog: Arc::new(store.catalog()),
        clock,
    };
    let config = AggregateConfig {
        sub_batch: BATCH,
        // SQLite takes a write of any size.
        counters_per_write: usize::MAX,
        ..AggregateConfig::default()
    };
    Aggregate::new(ports, config, Mutation::default())
}

/// What puts spilled clicks back.
pub(crate) fn settle(store: &Embedded, clock: Arc<dyn Clock>) -> Settle {
    let ports = SettlePorts {
        spill: Arc::new(store.spill()),
        stream: Arc::new(store.stream()),
        catalog: Arc::new(store.catalog()),
        clock,
    };
    Settle::new(ports, Mutation::default())
}

/// What forgets, and how much of it at once.
pub(crate) fn maintenance(store: &Embedded, clock: Arc<dyn Clock>) -> (Maintenance, usize) {
    let ports = MaintenancePorts {
        shards: Arc::new(store.stream()),
        lanes: Arc::new(store.lanes()),
        claims: Arc::new(store.claims()),
        clock,
    };
    let config = MaintenanceConfig::default();
    (Maintenance::new(ports, config), config.step)
}
