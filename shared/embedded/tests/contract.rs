//! The embedded adapters under the suites that every adapter passes.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use clickledger_embedded::{
    Buckets, Catalog, Claims, Embedded, Keys, Lanes, OpenOptions, Seals, SpillTable, Stream, TokenKeySafe,
};
use clickledger_testkit::contract::gauges::Gauged;
use tempfile::TempDir;

fn folder() -> (Embedded, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Embedded::open(dir.path(), OpenOptions::default()).unwrap(), dir)
}

macro_rules! opened_by {
    ($($open:ident: $port:ident => $of:ident,)*) => {
        $(async fn $open() -> ($port, TempDir) {
            let (store, dir) = folder();
            (store.$of(), dir)
        })*
    };
}

opened_by! {
    open_claims: Claims => claims,
    open_stream: Stream => stream,
    open_buckets: Buckets => buckets,
    open_lanes: Lanes => lanes,
    open_catalog: Catalog => catalog,
    open_keys: Keys => keys,
    open_token_keys: TokenKeySafe => token_keys,
    open_seals: Seals => seals,
    open_spill: SpillTable => spill,
}

async fn open_gauges() -> (Gauged, TempDir) {
    let (store, dir) = folder();
    let gauged = Gauged {
        spill: Arc::new(store.spill()),
        quarantine: Arc::new(store.quarantine()),
        gauges: Arc::new(store.gauges()),
    };
    (gauged, dir)
}

clickledger_testkit::gauges_contract!(open_gauges);
clickledger_testkit::claim_store_contract!(open_claims);
clickledger_testkit::click_stream_contract!(open_stream);
clickledger_testkit::bucket_store_contract!(open_buckets);
clickledger_testkit::lane_log_contract!(open_lanes);
clickledger_testkit::ad_catalog_contract!(open_catalog);
clickledger_testkit::api_keys_contract!(open_keys);
clickledger_testkit::token_keys_contract!(open_token_keys);
clickledger_testkit::seal_store_contract!(open_seals);
clickledger_testkit::spill_contract!(open_spill, given_time);
clickledger_testkit::manifests_contract!(open_seals);
clickledger_testkit::leases_contract!(open_seals);
clickledger_testkit::sealed_counts_contract!(open_seals);
clickledger_testkit::rulings_contract!(open_seals);
clickledger_testkit::seal_reports_contract!(open_seals);
