//! Any cut, repeat, bisect or replay of a shard's batches gives the same buckets; copies of a click count once in any order.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::Minute;
use clickledger_core::service::aggregate::{Aggregate, AggregateConfig, AggregatePorts, BatchRecord};
use clickledger_testkit::fixtures::ClickMaker;
use clickledger_testkit::memory::{
    MemoryBuckets, MemoryCatalog, MemoryClaims, MemoryLanes, MemoryQuarantine, MemorySeals, MemoryStream,
    StreamOptions,
};
use clickledger_testkit::virtual_time::VirtualTime;
use proptest::prelude::*;

/// 2026-01-02T00:00:00Z.
const NOW_MS: i64 = 1_767_312_000_000;

/// A shard that holds its records, and the stores behind it.
struct Lane {
    time: VirtualTime,
    records: Vec<(SequenceNumber, i64, Vec<u8>)>,
    ports: AggregatePorts,
    buckets: MemoryBuckets,
}

impl Lane {
    /// `order` names clicks; a click that is named again is a copy of its record.
    fn new(clicks: &[ClickRecord], order: &[usize]) -> Self {
        let time = VirtualTime::new(NOW_MS);
        let buckets = MemoryBuckets::default();
        let ports = AggregatePorts {
            claims: Arc::new(MemoryClaims::default()),
            buckets: Arc::new(buckets.clone()),
            lanes: Arc::new(MemoryLanes::default()),
            shards: Arc::new(MemoryStream::new(Arc::new(time.clone()), StreamOptions::plain(1))),
            quarantine: Arc::new(MemoryQuarantine::default()),
            seals: Arc::new(MemorySeals::default()),
            catalog: Arc::new(MemoryCatalog::default()),
            clock: Arc::new(time.clone()),
        };
        let records = order.iter().zip(1_u64..).map(|(click, n)| {
            let click = &clicks[*click];
            (
                SequenceNumber::from(n * 7),
                NOW_MS + n as i64,
                click.to_line().unwrap(),
            )
        });
        Self {
            records: records.collect(),
            time,
            ports,
            buckets,
        }
    }

    fn environment(&self, sub_batch: usize, counters_per_write: usize) -> Aggregate {
        let config = AggregateConfig {
            sub_batch,
            counters_per_write,
            ..AggregateConfig::default()
        };
        Aggregate::new(self.ports.clone(), config, Mutation::default())
    }

    fn deliver(&self, aggregate: &Aggregate, from: usize, to: usize) {
        let shard: ShardId = "shardId-000000000000".into();
        let batch: Vec<_> = self.records[from..to]
            .iter()
            .map(|(sequence_number, arrived_at_ms, data)| BatchRecord {
                sequence_number: *sequence_number,
                arrived_at_ms: *arrived_at_ms,
                data,
            })
            .collect();
        assert_eq!(self.time.block_on(aggregate.run(&shard, &batch, None)), None);
    }

    fn counted(&self) -> BTreeMap<BucketKey, Counters> {
        let sums = self.buckets.sums().into_iter();
        sums.filter(|(_, counters)| !counters.is_empty()).collect()
    }
}

/// Counted by hand: each click once.
fn by_hand(clicks: &[ClickRecord], order: &[usize]) -> BTreeMap<BucketKey, Counters> {
    let mut counted: BTreeMap<BucketKey, Counters> = BTreeMap::new();
    let mut seen = HashSet::new();
    for click in order
        .iter()
        .filter(|click| seen.insert(**click))
        .map(|click| &clicks[*click])
    {
        let minute = Minute::of(click.clicked_at_ms);
        let counter = CounterKey::of(click.verdict, click.device, click.country);
        let mut entities = vec![
            Entity::Ad(click.ad_id),
            Entity::Campaign(click.campaign_id),
            Entity::Advertiser(click.advertiser_id),
            Entity::Total,
        ];
        entities.extend(click.placement_id.map(Entity::Placement));
        for entity in entities {
            counted
                .entry(BucketKey { entity, minute })
                .or_default()
                .add(counter, 1);
        }
    }
    counted
}

fn clicks(seed: u64) -> Vec<ClickRecord> {
    // Few ads and two minutes, so that groups are shared.
    let mut maker = ClickMaker::new(seed, 4, NOW_MS - 60_000, 0.4);
    (0..40).map(|_| maker.record()).collect()
}

/// How batches are cut: each ends so many records after the one before, and begins again so many before its end.
fn cuts() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    proptest::collection::vec((1_usize..30, 0_usize..30, any::<bool>()), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_cut_and_redelivery_of_batches_gives_the_same_buckets(
        seed in 0_u64..1000,
        order in proptest::collection::vec(0_usize..40, 1..80),
        cuts in cuts(),
        sub_batch in 1_usize..20,
        counters in 1_usize..4,
    ) {
        let clicks = clicks(seed);
        let lane = Lane::new(&clicks, &order);
        let mut aggregate = lane.environment(sub_batch, counters);
        let (mut done, all) = (0, order.len());
        for (length, back, cold) in cuts.into_iter().cycle() {
            if done == all {
                break;
            }
            if cold {
                aggregate = lane.environment(sub_batch + 1, counters);
            }
            let (from, to) = (done - back.min(done), (done + length).min(all));
            lane.deliver(&aggregate, from, to);
            done = to;
        }
        prop_assert_eq!(lane.counted(), by_hand(&clicks, &order));
    }

    #[test]
    fn a_replay_without_any_log_leaves_the_buckets_as_they_are(
        seed in 0_u64..1000,
        order in proptest::collection::vec(0_usize..40, 1..80),
        from in 0_usize..80,
        sizes in (1_usize..30, 1_usize..30),
    ) {
        let clicks = clicks(seed);
        let mut lane = Lane::new(&clicks, &order);
        let all = order.len();
        lane.deliver(&lane.environment(sizes.0, 150), 0, all);
        let before = lane.buckets.all();
        lane.ports.lanes = Arc::new(MemoryLanes::default());
        let again = lane.environment(sizes.1, 2);
        for start in (from.min(all)..all).step_by(sizes.0) {
            lane.deliver(&again, start, (start + sizes.0).min(all));
        }
        prop_assert_eq!(lane.buckets.all(), before);
    }

    #[test]
    fn a_batch_and_its_halves_are_worth_the_same(
        seed in 0_u64..1000,
        order in proptest::collection::vec(0_usize..40, 2..80),
        at in 1_usize..79,
    ) {
        let clicks = clicks(seed);
        let (whole, halves) = (Lane::new(&clicks, &order), Lane::new(&clicks, &order));
        let at = at.min(order.len() - 1);
        whole.deliver(&whole.environment(2000, 150), 0, order.len());
        halves.deliver(&halves.environment(2000, 150), 0, at);
        halves.deliver(&halves.environment(2000, 150), at, order.len());
        prop_assert_eq!(whole.buckets.all(), halves.buckets.all());
    }
}
