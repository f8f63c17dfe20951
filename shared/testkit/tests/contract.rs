//! The adapters in memory under the suites that every adapter passes.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use clickledger_testkit::contract::NOW_MS;
use clickledger_testkit::memory::{
    MemoryBuckets, MemoryCatalog, MemoryClaims, MemoryKeys, MemoryLanes, MemorySeals, MemorySpill,
    MemoryStream, MemoryTokenKeys, StreamOptions,
};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_testkit::virtual_time::VirtualTime;

macro_rules! opened_by {
    ($($open:ident: $port:ident,)*) => {
        $(async fn $open() -> ($port, ()) {
            ($port::default(), ())
        })*
    };
}

opened_by! {
    open_claims: MemoryClaims,
    open_buckets: MemoryBuckets,
    open_lanes: MemoryLanes,
    open_catalog: MemoryCatalog,
    open_keys: MemoryKeys,
    open_seals: MemorySeals,
    open_spill: MemorySpill,
}

async fn open_token_keys() -> (MemoryTokenKeys, ()) {
    (MemoryTokenKeys::new(Arc::new(SimRng::new(1))), ())
}

/// Three open shards, huge numbers with gaps, arrivals out of order.
async fn open_stream() -> (MemoryStream, ()) {
    let (clock, options) = (
        VirtualTime::new(NOW_MS),
        StreamOptions::random(3, &SimRng::new(2), 50),
    );
    (MemoryStream::new(Arc::new(clock), options), ())
}

/// Two open shards that are not the first ones: their ancestors are closed.
async fn open_resharded() -> (MemoryStream, ()) {
    let stream = MemoryStream::new(Arc::new(VirtualTime::new(NOW_MS)), StreamOptions::plain(1));
    let [low, high] = stream.split(&stream.open_shards()[0], None).unwrap();
    let joined = stream.merge(&low, &high).unwrap();
    stream.split(&joined, Some(u128::MAX / 5)).unwrap();
    (stream, ())
}

clickledger_testkit::claim_store_contract!(open_claims);
clickledger_testkit::click_stream_contract!(open_stream);
clickledger_testkit::bucket_store_contract!(open_buckets);
clickledger_testkit::lane_log_contract!(open_lanes);
clickledger_testkit::ad_catalog_contract!(open_catalog);
clickledger_testkit::api_keys_contract!(open_keys);
clickledger_testkit::token_keys_contract!(open_token_keys);
clickledger_testkit::seal_store_contract!(open_seals);
clickledger_testkit::spill_contract!(open_spill, given_time);

mod resharded {
    use super::*;

    clickledger_testkit::click_stream_contract!(open_resharded);
}
