//! The adapters in memory under the suites that every adapter passes, alone and behind wrappers whose faults are calm.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use clickledger_core::domain::time::Hour;
use clickledger_core::ports::LakeReader;
use clickledger_testkit::contract::NOW_MS;
use clickledger_testkit::contract::gauges::Gauged;
use clickledger_testkit::memory::{
    MemoryBuckets, MemoryCatalog, MemoryClaims, MemoryGauges, MemoryHeartbeatLog, MemoryKeys,
    MemoryLakeReader, MemoryLanes, MemorySeals, MemorySpill, MemoryStream, MemoryTokenKeys, StreamOptions,
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
    open_heartbeat_log: MemoryHeartbeatLog,
    open_lake_reader: MemoryLakeReader,
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

async fn open_gauges() -> (Gauged, ()) {
    let gauges = MemoryGauges::default();
    let gauged = Gauged {
        spill: Arc::new(gauges.spill.clone()),
        quarantine: Arc::new(gauges.quarantine.clone()),
        gauges: Arc::new(gauges),
    };
    (gauged, ())
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
clickledger_testkit::heartbeat_log_contract!(open_heartbeat_log);
clickledger_testkit::heartbeats_contract!(open_stream);
clickledger_testkit::lake_reader_contract!(open_lake_reader);

#[tokio::test]
async fn undelivered_objects_are_those_of_the_partitions() {
    let lake = MemoryLakeReader::default();
    lake.set_undelivered(Hour(7), 2);
    lake.set_undelivered(Hour(9), 1);
    assert_eq!(lake.undelivered(Hour(7)..Hour(9)).await.unwrap(), 2);
    assert_eq!(lake.undelivered(Hour(7)..Hour(10)).await.unwrap(), 3);
    lake.set_undelivered(Hour(7), 0);
    assert_eq!(lake.undelivered(Hour(7)..Hour(9)).await.unwrap(), 0);
}

mod resharded {
    use super::*;

    clickledger_testkit::click_stream_contract!(open_resharded);
    clickledger_testkit::heartbeats_contract!(open_resharded);
}

/// Calm faults change nothing: every wrapper passes calls on as they are.
mod calm {
    use clickledger_core::domain::bucket::ShardId;
    use clickledger_core::domain::sequence::SequenceNumber;
    use clickledger_core::ports::{
        ClickStream, Outgoing, PortResult, Position, Shard, ShardReader, StreamRecord,
    };
    use clickledger_testkit::faulty::{
        Faults, FaultyBuckets, FaultyCatalog, FaultyClaims, FaultyLanes, FaultyReader, FaultySeals,
        FaultySpill, FaultyStream,
    };

    use super::*;

    /// Nothing drives this time: calm calls only yield, which any executor can do.
    fn faults() -> Faults {
        Faults::new(VirtualTime::new(NOW_MS), SimRng::new(3))
    }

    macro_rules! wrapped_by {
        ($($open:ident: $wrapper:ident of $port:ident,)*) => {
            $(async fn $open() -> ($wrapper, ()) {
                ($wrapper::new(Arc::new($port::default()), faults()), ())
            })*
        };
    }

    wrapped_by! {
        open_claims: FaultyClaims of MemoryClaims,
        open_buckets: FaultyBuckets of MemoryBuckets,
        open_lanes: FaultyLanes of MemoryLanes,
        open_catalog: FaultyCatalog of MemoryCatalog,
        open_seals: FaultySeals of MemorySeals,
        open_spill: FaultySpill of MemorySpill,
    }

    /// Both halves in one, as the suite wants them.
    struct Halves(FaultyStream, FaultyReader);

    #[async_trait::async_trait]
    impl ClickStream for Halves {
        async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
            self.0.publish(records).await
        }
    }

    #[async_trait::async_trait]
    impl ShardReader for Halves {
        async fn shards(&self) -> PortResult<Vec<Shard>> {
            self.1.shards().await
        }
        async fn read(
            &self,
            shard: &ShardId,
            after: Option<SequenceNumber>,
            limit: usize,
        ) -> PortResult<Vec<StreamRecord>> {
            self.1.read(shard, after, limit).await
        }
        async fn position(&self, consumer: &str, shard: &ShardId) -> PortResult<Position> {
            self.1.position(consumer, shard).await
        }
        async fn advance(&self, consumer: &str, shard: &ShardId, position: Position) -> PortResult<()> {
            self.1.advance(consumer, shard, position).await
        }
        async fn trim(&self, consumers: &[&str], before_ms: i64, limit: usize) -> PortResult<usize> {
            self.1.trim(consumers, before_ms, limit).await
        }
    }

    async fn open_halves() -> (Halves, ()) {
        let (stream, ()) = open_stream().await;
        let halves = Halves(
            FaultyStream::new(Arc::new(stream.clone()), faults()),
            FaultyReader::new(Arc::new(stream), faults()),
        );
        (halves, ())
    }

    clickledger_testkit::claim_store_contract!(open_claims);
    clickledger_testkit::click_stream_contract!(open_halves);
    clickledger_testkit::bucket_store_contract!(open_buckets);
    clickledger_testkit::lane_log_contract!(open_lanes);
    clickledger_testkit::ad_catalog_contract!(open_catalog);
    clickledger_testkit::seal_store_contract!(open_seals);
    clickledger_testkit::spill_contract!(open_spill, given_time);
}
