//! The service `aggregate` on the embedded store: whatever is delivered again, cut anew or repeated, counts stay exact.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::heartbeat::Heartbeat;
use clickledger_core::domain::ids::{ClickId, HeartbeatId};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{BucketStore, PortResult, SealStore};
use clickledger_core::service::aggregate::{Aggregate, AggregateConfig, AggregatePorts, BatchRecord};
use clickledger_embedded::{Embedded, OpenOptions, Seals, SystemClock};
use clickledger_testkit::fixtures::ClickMaker;

/// 2026-01-02T00:00:00Z.
const NOW_MS: i64 = 1_767_312_000_000;
const L_MS: i64 = 300_000;

/// A record on the stream: number, arrival, line.
type Line = (u64, i64, Vec<u8>);

fn ports(store: &Embedded) -> AggregatePorts {
    AggregatePorts {
        claims: Arc::new(store.claims()),
        buckets: Arc::new(store.buckets()),
        lanes: Arc::new(store.lanes()),
        shards: Arc::new(store.stream()),
        quarantine: Arc::new(store.quarantine()),
        seals: Arc::new(store.seals()),
        catalog: Arc::new(store.catalog()),
        clock: Arc::new(SystemClock),
    }
}

fn environment(store: &Embedded, config: AggregateConfig) -> Aggregate {
    Aggregate::new(ports(store), config, Mutation::default())
}

fn small(sub_batch: usize, counters_per_write: usize) -> AggregateConfig {
    AggregateConfig {
        sub_batch,
        counters_per_write,
        ..AggregateConfig::default()
    }
}

async fn run(aggregate: &Aggregate, lines: &[Line]) -> Option<SequenceNumber> {
    let shard: ShardId = "shardId-000000000000".into();
    let batch: Vec<_> = lines
        .iter()
        .map(|(number, arrived_at_ms, data)| BatchRecord {
            sequence_number: SequenceNumber::from(*number),
            arrived_at_ms: *arrived_at_ms,
            data,
        })
        .collect();
    aggregate.run(&shard, &batch, None).await
}

/// Gross and valid clicks of an entity, over all time.
async fn counted(store: &Embedded, entity: Entity) -> (u64, u64) {
    let buckets = store
        .buckets()
        .read(entity, Minute(0), Minute::of(NOW_MS * 2))
        .await
        .unwrap();
    buckets.iter().fold((0, 0), |(gross, valid), b| {
        (gross + b.counters.gross(), valid + b.counters.valid())
    })
}

fn clicks(count: usize) -> Vec<ClickRecord> {
    let mut maker = ClickMaker::new(7, 5, NOW_MS, 10.0);
    (0..count).map(|_| maker.record()).collect()
}

fn lines(clicks: &[ClickRecord]) -> Vec<Line> {
    let line = |(i, click): (usize, &ClickRecord)| {
        (i as u64 + 1, click.clicked_at_ms + 500, click.to_line().unwrap())
    };
    clicks.iter().enumerate().map(line).collect()
}

fn claimed_or_not_valid(clicks: &[ClickRecord]) -> u64 {
    clicks
        .iter()
        .filter(|click| click.verdict == Verdict::Valid)
        .count() as u64
}

#[tokio::test]
async fn redelivered_and_recut_batches_leave_counts_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    let clicks: Vec<_> = clicks(600)
        .into_iter()
        .map(|click| ClickRecord {
            claimed: true,
            ..click
        })
        .collect();
    let (all, valid) = (lines(&clicks), claimed_or_not_valid(&clicks));
    let first = environment(&store, small(100, 150));
    assert_eq!(run(&first, &all[..350]).await, None);
    // Cut anew by an environment that starts cold, with pieces of two counters: half of it is stale, the rest is not.
    let second = environment(&store, small(70, 2));
    assert_eq!(run(&second, &all[200..500]).await, None);
    assert_eq!(run(&first, &all[480..]).await, None);
    assert_eq!(counted(&store, Entity::Total).await, (600, valid));
    for cut in [1, 33, 600] {
        for batch in all.chunks(cut) {
            assert_eq!(run(&environment(&store, small(cut, 1)), batch).await, None);
        }
        assert_eq!(counted(&store, Entity::Total).await, (600, valid));
    }
    let ads: std::collections::BTreeSet<_> = clicks.iter().map(|click| click.ad_id).collect();
    for ad in ads {
        let own: Vec<_> = clicks.iter().filter(|click| click.ad_id == ad).cloned().collect();
        assert_eq!(
            counted(&store, Entity::Ad(ad)).await,
            (own.len() as u64, claimed_or_not_valid(&own))
        );
    }
}

#[tokio::test]
async fn copies_of_a_record_are_counted_once_by_warm_and_cold_environments() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    let clicks: Vec<_> = clicks(20)
        .into_iter()
        .map(|click| ClickRecord {
            claimed: true,
            ..click
        })
        .collect();
    let once = lines(&clicks);
    let again = |from: u64| {
        once.iter()
            .map(|(n, at, data)| (n + from, at + 1000, data.clone()))
            .collect::<Vec<_>>()
    };
    let warm = environment(&store, small(7, 150));
    let mut twice_in_one_batch = once.clone();
    twice_in_one_batch.extend(again(100));
    assert_eq!(run(&warm, &twice_in_one_batch).await, None);
    assert_eq!(run(&warm, &again(200)).await, None);
    assert_eq!(run(&environment(&store, small(7, 150)), &again(300)).await, None);
    assert_eq!(
        counted(&store, Entity::Total).await,
        (20, claimed_or_not_valid(&clicks))
    );
}

#[tokio::test]
async fn unclaimed_clicks_of_one_impression_leave_one_valid_click() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    let click = clicks(50)
        .into_iter()
        .find(|click| click.impression_id.is_some())
        .unwrap();
    let copies: Vec<_> = (0_u8..3)
        .map(|n| ClickRecord {
            click_id: ClickId::new(click.clicked_at_ms, [n; 10]),
            verdict: Verdict::Valid,
            duplicate_of: None,
            claimed: false,
            ..click.clone()
        })
        .collect();
    assert_eq!(
        run(&environment(&store, small(2, 150)), &lines(&copies)).await,
        None
    );
    assert_eq!(counted(&store, Entity::Total).await, (3, 1));
}

#[tokio::test]
async fn late_copy_is_left_to_sealing_and_does_not_hide_the_one_on_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    let click = ClickRecord {
        claimed: true,
        verdict: Verdict::Valid,
        ..clicks(1).remove(0)
    };
    let line = click.to_line().unwrap();
    let at = click.clicked_at_ms;
    let batch = [
        (1, at + L_MS + 1, line.clone()),
        (2, at + L_MS, line.clone()),
        (3, at + L_MS + 2, line),
    ];
    assert_eq!(
        run(&environment(&store, AggregateConfig::default()), &batch).await,
        None
    );
    assert_eq!(counted(&store, Entity::Total).await, (1, 1));
    let hour = Hour::of(at);
    assert_eq!(store.seals().dirty(hour, Hour(hour.0 + 1)).await.unwrap(), [hour]);
}

/// Counts the calls.
struct Counting(Seals, AtomicUsize);

#[async_trait]
impl SealStore for Counting {
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.mark_dirty(hours).await
    }
    async fn mark_quarantined(&self, hour: Hour) -> PortResult<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.mark_quarantined(hour).await
    }
    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>> {
        self.0.dirty(from, to).await
    }
}

/// After an outage a whole backlog is late: a call for each record would take longer than the batch may.
#[tokio::test]
async fn hour_of_many_late_records_is_marked_once_a_sub_batch() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    let seals = Arc::new(Counting(store.seals(), AtomicUsize::new(0)));
    let ports = AggregatePorts {
        seals: Arc::clone(&seals) as Arc<dyn SealStore>,
        ..ports(&store)
    };
    let aggregate = Aggregate::new(ports, small(100, 150), Mutation::default());
    let mut batch = lines(&clicks(300));
    let late_ms = NOW_MS + 2 * 3_600_000;
    batch.iter_mut().for_each(|line| line.1 = late_ms);
    assert_eq!(run(&aggregate, &batch).await, None);
    assert_eq!(counted(&store, Entity::Total).await, (0, 0));
    let hour = Hour::of(NOW_MS);
    assert_eq!(store.seals().dirty(hour, Hour(hour.0 + 9)).await.unwrap(), [hour]);
    assert_eq!(seals.1.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_is_no_record_is_quarantined_and_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    let click = ClickRecord {
        claimed: true,
        verdict: Verdict::Valid,
        ..clicks(1).remove(0)
    };
    let at = click.clicked_at_ms;
    let batch = [
        (1, at, b"{\"v\":1".to_vec()),
        (2, at, vec![0xff; 9]),
        (3, at, click.to_line().unwrap()),
    ];
    assert_eq!(
        run(&environment(&store, AggregateConfig::default()), &batch).await,
        None
    );
    assert_eq!(counted(&store, Entity::Total).await, (1, 1));
    let kept: usize = std::fs::read_dir(dir.path().join("quarantine"))
        .unwrap()
        .map(|file| {
            std::fs::read_to_string(file.unwrap().path())
                .unwrap()
                .lines()
                .count()
        })
        .sum();
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn heartbeats_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    let click = ClickRecord {
        claimed: true,
        verdict: Verdict::Valid,
        ..clicks(1).remove(0)
    };
    let at = click.clicked_at_ms;
    let beat = Heartbeat::new(HeartbeatId::new(at, [1; 10]), &"shardId-000000000000".into(), at);
    let batch = [
        (1, at, beat.to_line().unwrap()),
        (2, at, click.to_line().unwrap()),
        (3, at, beat.to_line().unwrap()),
    ];
    assert_eq!(
        run(&environment(&store, AggregateConfig::default()), &batch).await,
        None
    );
    assert_eq!(counted(&store, Entity::Total).await, (1, 1));
    assert!(!dir.path().join("quarantine").exists());
}
