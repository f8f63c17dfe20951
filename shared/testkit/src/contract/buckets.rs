//! [`BucketStore`]: counts and watermark move together under their condition, or not at all.

use clickledger_core::domain::bucket::{Committed, Condition, PartialWrite, ShardId};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::Minute;
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::BucketStore;
use futures_util::future::join_all;

use super::{NOW_MS, unique};

fn key() -> BucketKey {
    BucketKey {
        entity: Entity::Ad(AdId(unique::number())),
        minute: Minute::of(NOW_MS),
    }
}

fn shard(number: u32) -> ShardId {
    format!("shardId-{number:012}").into()
}

fn seq(number: u64) -> SequenceNumber {
    SequenceNumber::from(number)
}

fn valid(count: u64) -> Counters {
    [(CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ), count)]
        .into_iter()
        .collect()
}

fn write(key: BucketKey, condition: Condition, last: u64, count: u64) -> PartialWrite {
    PartialWrite {
        key,
        shard: shard(0),
        condition,
        last: seq(last),
        delta: valid(count),
    }
}

fn below(key: BucketKey, first: u64, last: u64, count: u64) -> PartialWrite {
    write(key, Condition::Below(seq(first)), last, count)
}

fn exactly(key: BucketKey, watermark: u64, last: u64, count: u64) -> PartialWrite {
    write(key, Condition::Exactly(seq(watermark)), last, count)
}

fn stale(watermark: u64) -> Committed {
    Committed::Stale(Some(seq(watermark)))
}

async fn commit(store: &dyn BucketStore, write: PartialWrite) -> Committed {
    let mut outcomes = store.commit(vec![write]).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).unwrap()
}

/// The minute's counters, empty where nothing is stored; the totals must agree.
async fn stored(store: &dyn BucketStore, key: BucketKey) -> Counters {
    let end = Minute(key.minute.0 + 1);
    let buckets = store.read(key.entity, key.minute, end).await.unwrap();
    let totals = store.read_totals(key.entity, key.minute, end).await.unwrap();
    assert!(buckets.len() <= 1, "{buckets:?}");
    assert_eq!(buckets.len(), totals.len());
    let Some(bucket) = buckets.into_iter().next() else {
        return Counters::default();
    };
    assert_eq!(
        (bucket.entity, bucket.minute, totals[0].minute),
        (key.entity, key.minute, key.minute)
    );
    assert_eq!(totals[0].valid, bucket.counters.valid());
    assert_eq!(
        totals[0].valid + totals[0].invalid.iter().sum::<u64>(),
        bucket.counters.gross()
    );
    bucket.counters
}

/// Where there is no partial yet, and where its watermark is lower, the counts are added.
pub async fn delta_above_the_watermark_is_added(store: &dyn BucketStore) {
    let key = key();
    assert_eq!(commit(store, below(key, 10, 12, 3)).await, Committed::Applied);
    assert_eq!(commit(store, below(key, 13, 13, 1)).await, Committed::Applied);
    assert_eq!(commit(store, below(key, 20, 25, 5)).await, Committed::Applied);
    assert_eq!(stored(store, key).await, valid(9));
    assert_eq!(commit(store, below(key, 20, 25, 5)).await, stale(25));
}

/// A delta that begins at or below the watermark changes nothing, and is told the watermark.
pub async fn delta_that_overlaps_the_watermark_changes_nothing(store: &dyn BucketStore) {
    let key = key();
    commit(store, below(key, 10, 12, 3)).await;
    for (first, last) in [(1, 5), (10, 12), (11, 20), (12, 20)] {
        assert_eq!(
            commit(store, below(key, first, last, 7)).await,
            stale(12),
            "{first}..={last}"
        );
    }
    assert_eq!(stored(store, key).await, valid(3));
    assert_eq!(
        commit(store, below(key, 13, 14, 1)).await,
        Committed::Applied,
        "nor was the watermark moved"
    );
}

/// Applied, answer lost, retried: under either condition it is refused by its own `last`.
pub async fn retried_write_is_stale_with_its_own_last(store: &dyn BucketStore) {
    let key = key();
    let first = below(key, 10, 12, 3);
    assert_eq!(commit(store, first.clone()).await, Committed::Applied);
    assert_eq!(commit(store, first).await, stale(12));
    let again = exactly(key, 12, 15, 2);
    assert_eq!(commit(store, again.clone()).await, Committed::Applied);
    assert_eq!(commit(store, again).await, stale(15));
    assert_eq!(stored(store, key).await, valid(5));
}

/// `Exactly` means exactly: not lower, not higher, not absent.
pub async fn refolded_delta_needs_exactly_its_watermark(store: &dyn BucketStore) {
    let key = key();
    assert_eq!(
        commit(store, exactly(key, 12, 15, 2)).await,
        Committed::Stale(None)
    );
    assert_eq!(stored(store, key).await, Counters::default());
    commit(store, below(key, 10, 12, 3)).await;
    for other in [11, 13, 1_000_000] {
        assert_eq!(
            commit(store, exactly(key, other, 2_000_000, 7)).await,
            stale(12),
            "{other}"
        );
    }
    assert_eq!(commit(store, exactly(key, 12, 15, 2)).await, Committed::Applied);
    assert_eq!(stored(store, key).await, valid(5));
}

/// Where only repeats were dropped the watermark still moves, and no click appears.
pub async fn empty_delta_moves_the_watermark(store: &dyn BucketStore) {
    let key = key();
    let empty = PartialWrite {
        delta: Counters::default(),
        ..below(key, 10, 12, 0)
    };
    assert_eq!(commit(store, empty).await, Committed::Applied);
    assert_eq!(stored(store, key).await, Counters::default());
    assert_eq!(commit(store, below(key, 12, 13, 1)).await, stale(12));
    assert_eq!(commit(store, below(key, 13, 13, 1)).await, Committed::Applied);
    assert_eq!(stored(store, key).await, valid(1));
}

/// Each shard has its own partial and watermark; a bucket is their sum.
pub async fn partials_of_shards_are_apart_and_add_up(store: &dyn BucketStore) {
    let key = key();
    for (number, first) in [(0, 1_000), (1, 10), (2, 500)] {
        let write = PartialWrite {
            shard: shard(number),
            ..below(key, first, first, 1)
        };
        assert_eq!(commit(store, write).await, Committed::Applied);
    }
    assert_eq!(stored(store, key).await, valid(3));
    let overlapping = PartialWrite {
        shard: shard(1),
        ..below(key, 10, 11, 1)
    };
    assert_eq!(commit(store, overlapping).await, stale(10));
}

/// One call's writes are tried each by itself, answered in their order.
pub async fn each_write_of_a_call_is_tried_by_itself(store: &dyn BucketStore) {
    let keys: Vec<BucketKey> = (0..60).map(|_| key()).collect();
    let taken = keys.iter().step_by(3).map(|key| below(*key, 1, 9, 1)).collect();
    for outcome in store.commit(taken).await {
        assert_eq!(outcome.unwrap(), Committed::Applied);
    }
    let outcomes = store
        .commit(keys.iter().map(|key| below(*key, 5, 10, 10)).collect())
        .await;
    assert_eq!(outcomes.len(), keys.len());
    for (place, (key, outcome)) in keys.iter().zip(outcomes).enumerate() {
        let (committed, count) = if place % 3 == 0 {
            (stale(9), 1)
        } else {
            (Committed::Applied, 10)
        };
        assert_eq!(outcome.unwrap(), committed, "write {place}");
        assert_eq!(stored(store, *key).await, valid(count));
    }
    assert!(store.commit(Vec::new()).await.is_empty());
}

/// Every kind of counter comes back with its count, also a large one, and adds up with a second delta.
pub async fn every_counter_comes_back(store: &dyn BucketStore) {
    let key = key();
    let mut delta = Counters::default();
    for (place, device) in Device::ALL.into_iter().enumerate() {
        for (country, count) in [
            ("AD", 1),
            ("DE", 127 + place as u64),
            ("ZW", 1 << 40),
            ("ZZ", 300),
        ] {
            delta.add(
                CounterKey::of(Verdict::Valid, device, country.parse().unwrap()),
                count,
            );
        }
    }
    for (place, verdict) in Verdict::ALL.into_iter().enumerate().skip(1) {
        delta.add(
            CounterKey::of(verdict, Device::Unknown, Country::ZZ),
            100 * place as u64,
        );
    }
    let write = PartialWrite {
        delta: delta.clone(),
        ..below(key, 1, 1, 0)
    };
    assert_eq!(commit(store, write).await, Committed::Applied);
    assert_eq!(stored(store, key).await, delta);
    let totals = store
        .read_totals(key.entity, key.minute, Minute(key.minute.0 + 1))
        .await
        .unwrap();
    assert_eq!(totals[0].invalid, [0, 100, 200, 300, 400, 500, 600, 700, 800]);
    let write = PartialWrite {
        delta: delta.clone(),
        ..below(key, 2, 2, 0)
    };
    assert_eq!(commit(store, write).await, Committed::Applied);
    let twice: Counters = delta.iter().map(|(key, count)| (key, 2 * count)).collect();
    assert_eq!(stored(store, key).await, twice);
}

/// As many counters as `aggregate` puts into one write, each with a count that a busy minute may have.
pub async fn delta_of_150_counters_is_one_write(store: &dyn BucketStore) {
    let key = key();
    let countries = (0..=255).filter_map(Country::from_index).take(50);
    let counters = countries.flat_map(|country| {
        [Device::Mobile, Device::Tablet, Device::Unknown]
            .map(|device| CounterKey::of(Verdict::Valid, device, country))
    });
    let delta: Counters = counters.zip(1_000_000..).collect();
    assert_eq!(delta.len(), 150);
    let write = |first, last| PartialWrite {
        delta: delta.clone(),
        ..below(key, first, last, 0)
    };
    assert_eq!(commit(store, write(1, 2)).await, Committed::Applied);
    assert_eq!(commit(store, write(1, 2)).await, stale(2));
    assert_eq!(commit(store, write(3, 4)).await, Committed::Applied);
    let twice: Counters = delta.iter().map(|(key, count)| (key, 2 * count)).collect();
    assert_eq!(stored(store, key).await, twice);
}

/// A range is half open, ordered by minute, and one entity's alone: an ad 7 is no campaign 7.
pub async fn reading_gives_one_entitys_minutes_in_order(store: &dyn BucketStore) {
    let id = unique::number();
    let start = Minute::of(NOW_MS).0;
    let entities = [
        Entity::Ad(AdId(id)),
        Entity::Campaign(CampaignId(id)),
        Entity::Advertiser(AdvertiserId(id)),
        Entity::Placement(PlacementId(id)),
    ];
    // Over midnight and over an hour's end, written in no order.
    let minutes = [1_439, 0, 1_500, -1, 60, 59];
    for (place, entity) in entities.into_iter().enumerate() {
        for minute in minutes {
            let key = BucketKey {
                entity,
                minute: Minute(start + minute),
            };
            let count = 1_000 * (place as u64 + 1) + (minute + 1).cast_unsigned();
            assert_eq!(commit(store, below(key, 1, 1, count)).await, Committed::Applied);
        }
    }
    for (place, entity) in entities.into_iter().enumerate() {
        let found = store
            .read(entity, Minute(start), Minute(start + 1_500))
            .await
            .unwrap();
        let found: Vec<(i64, u64)> = found
            .iter()
            .map(|b| (b.minute.0 - start, b.counters.valid()))
            .collect();
        let base = 1_000 * (place as u64 + 1);
        assert_eq!(
            found,
            [
                (0, base + 1),
                (59, base + 60),
                (60, base + 61),
                (1_439, base + 1_440)
            ]
        );
        let totals = store
            .read_totals(entity, Minute(start), Minute(start + 1_500))
            .await
            .unwrap();
        let totals: Vec<(i64, u64)> = totals.iter().map(|t| (t.minute.0 - start, t.valid)).collect();
        assert_eq!(totals, found);
    }
    assert_eq!(
        store
            .read(entities[0], Minute(start + 1), Minute(start + 59))
            .await
            .unwrap(),
        []
    );
}

/// Writers of one partial at the same time: each that was applied saw a lower watermark, and only those are counted.
pub async fn concurrent_writes_of_one_partial_see_each_other(store: &dyn BucketStore) {
    let key = key();
    let writes: Vec<PartialWrite> = (1..=24).map(|n| below(key, n, n, 1)).collect();
    let outcomes = join_all(writes.iter().map(|write| commit(store, write.clone()))).await;
    let mut applied = 0;
    for (write, outcome) in writes.iter().zip(outcomes) {
        match outcome {
            Committed::Applied => applied += 1,
            Committed::Stale(watermark) => assert!(watermark >= Some(write.last)),
        }
    }
    assert!(applied >= 1);
    assert_eq!(stored(store, key).await, valid(applied));
    // Of many who saw the same watermark one goes on from it.
    assert_eq!(commit(store, below(key, 100, 100, 1)).await, Committed::Applied);
    let refolded = (0..24).map(|n| commit(store, exactly(key, 100, 200 + n, 1)));
    let won = join_all(refolded)
        .await
        .into_iter()
        .filter(|outcome| *outcome == Committed::Applied)
        .count();
    assert_eq!(won, 1);
    assert_eq!(stored(store, key).await, valid(applied + 2));
}

/// Makes a test of every case.
#[macro_export]
macro_rules! bucket_store_contract {
    ($open:path) => {
        $crate::contract_cases!(
            buckets as bucket_store,
            $open,
            [
                delta_above_the_watermark_is_added,
                delta_that_overlaps_the_watermark_changes_nothing,
                retried_write_is_stale_with_its_own_last,
                refolded_delta_needs_exactly_its_watermark,
                empty_delta_moves_the_watermark,
                partials_of_shards_are_apart_and_add_up,
                each_write_of_a_call_is_tried_by_itself,
                every_counter_comes_back,
                delta_of_150_counters_is_one_write,
                reading_gives_one_entitys_minutes_in_order,
                concurrent_writes_of_one_partial_see_each_other,
            ]
        );
    };
}
