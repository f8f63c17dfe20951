//! The fold, on one core: `cargo bench -p clickledger-benches --bench fold`.
//!
//! `whole` is what `aggregate` does with an event of 6,000 records: from its JSON to the committed deltas of five entities,
//! repeats judged against a warm log of about 300,000 ids. `records` begins where the event is decoded. Stores answer at
//! once, so what is measured is ours. An element is a record; 1 in 20 is a repeat.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; and all that a benchmark can do about an error is stop.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Bucket, Committed, PartialWrite, ShardId};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::kinesis_event::KinesisEvent;
use clickledger_core::domain::lane::LaneItem;
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::Minute;
use clickledger_core::ports::{BucketStore, LaneLog, MinuteTotals, PortResult};
use clickledger_core::service::aggregate::{Aggregate, AggregateConfig, AggregatePorts, BatchRecord};
use clickledger_testkit::fixtures::{ClickMaker, Delivered, kinesis_event};
use clickledger_testkit::memory::{
    MemoryCatalog, MemoryClaims, MemoryLanes, MemoryQuarantine, MemorySeals, MemoryStream, StreamOptions,
};
use clickledger_testkit::virtual_time::VirtualTime;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: usize = 6000;
const LOGGED: usize = 300_000;
/// Clicks a second: the log's window of six minutes holds as many ids as it should.
const RATE: f64 = LOGGED as f64 / 360.0;
const SHARD: &str = "shardId-000000000006";

/// Takes every write.
#[derive(Default)]
struct Sink {
    writes: AtomicU64,
    clicks: AtomicU64,
}

#[async_trait]
impl BucketStore for Sink {
    async fn commit(&self, writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>> {
        self.writes.fetch_add(writes.len() as u64, Ordering::Relaxed);
        let total = writes.iter().filter(|write| write.key.entity == Entity::Total);
        self.clicks
            .fetch_add(total.map(|write| write.delta.gross()).sum(), Ordering::Relaxed);
        writes.iter().map(|_| Ok(Committed::Applied)).collect()
    }

    async fn read(&self, _: Entity, _: Minute, _: Minute) -> PortResult<Vec<Bucket>> {
        Ok(Vec::new())
    }

    async fn read_totals(&self, _: Entity, _: Minute, _: Minute) -> PortResult<Vec<MinuteTotals>> {
        Ok(Vec::new())
    }
}

/// A log whose items the environment knows already.
struct Known;

#[async_trait]
impl LaneLog for Known {
    async fn append(&self, _: &ShardId, item: LaneItem) -> PortResult<()> {
        black_box(item);
        Ok(())
    }

    async fn read(&self, _: &ShardId, _: Option<SequenceNumber>, _: i64) -> PortResult<Vec<LaneItem>> {
        Ok(Vec::new())
    }

    async fn expire(&self, _: &ShardId, _: SequenceNumber, _: i64) -> PortResult<usize> {
        Ok(0)
    }
}

/// Every port answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a port waits"),
    }
}

/// A shard's traffic without end.
struct Traffic {
    clicks: ClickMaker,
    n: u64,
    recent: Vec<Delivered>,
}

impl Traffic {
    fn new() -> Self {
        Self {
            clicks: ClickMaker::new(1, 10_000, 1_767_312_000_000, RATE),
            n: 0,
            recent: Vec::new(),
        }
    }

    fn next(&mut self) -> Vec<Delivered> {
        let mut records: Vec<Delivered> = Vec::with_capacity(RECORDS);
        for place in 0..RECORDS {
            self.n += 1;
            let mut record = Delivered::click(self.n, &self.clicks.record()).unwrap();
            if place % 20 == 19
                && let Some(old) = self.recent.get(place)
            {
                record.data.clone_from(&old.data);
                record.partition_key.clone_from(&old.partition_key);
            }
            records.push(record);
        }
        self.recent.clone_from(&records);
        records
    }
}

fn environment(log: Arc<dyn LaneLog>) -> (Aggregate, Arc<Sink>) {
    let time = VirtualTime::new(1_767_312_000_000);
    let sink = Arc::new(Sink::default());
    let ports = AggregatePorts {
        claims: Arc::new(MemoryClaims::default()),
        buckets: Arc::<Sink>::clone(&sink),
        lanes: log,
        shards: Arc::new(MemoryStream::new(Arc::new(time.clone()), StreamOptions::plain(1))),
        quarantine: Arc::new(MemoryQuarantine::default()),
        seals: Arc::new(MemorySeals::default()),
        catalog: Arc::new(MemoryCatalog::default()),
        clock: Arc::new(time),
    };
    (
        Aggregate::new(ports, AggregateConfig::default(), Mutation::default()),
        sink,
    )
}

fn run(aggregate: &Aggregate, shard: &ShardId, event: &KinesisEvent) {
    let batch: Vec<_> = event
        .records()
        .map(|record| BatchRecord {
            sequence_number: record.sequence_number,
            arrived_at_ms: record.arrived_at_ms,
            data: record.data,
        })
        .collect();
    assert_eq!(now(aggregate.run(shard, &batch, None)), None);
}

/// An environment that has been running for a while.
fn warm(traffic: &mut Traffic) -> (Aggregate, Arc<Sink>) {
    let (aggregate, sink) = environment(Arc::new(Known));
    for _ in 0..LOGGED.div_ceil(RECORDS) {
        let event = KinesisEvent::decode(&kinesis_event(SHARD, &traffic.next())).unwrap();
        run(&aggregate, &SHARD.into(), &event);
    }
    (aggregate, sink)
}

fn fold(c: &mut Criterion) {
    let mut group = c.benchmark_group("fold");
    group.throughput(Throughput::Elements(RECORDS as u64));
    let shard: ShardId = SHARD.into();

    let mut traffic = Traffic::new();
    let (aggregate, sink) = warm(&mut traffic);
    let clicks = sink.clicks.load(Ordering::Relaxed);
    assert!((280_000..290_000).contains(&clicks), "{clicks} without repeats");
    group.bench_function("whole", |b| {
        b.iter_batched(
            || kinesis_event(SHARD, &traffic.next()),
            |json| run(&aggregate, &shard, &KinesisEvent::decode(&json).unwrap()),
            BatchSize::PerIteration,
        );
    });

    let mut traffic = Traffic::new();
    let (aggregate, _) = warm(&mut traffic);
    group.bench_function("records", |b| {
        b.iter_batched(
            || KinesisEvent::decode(&kinesis_event(SHARD, &traffic.next())).unwrap(),
            |event| run(&aggregate, &shard, &event),
            BatchSize::PerIteration,
        );
    });

    // The log's own copy, as a cold environment reads it.
    let lanes = MemoryLanes::default();
    let mut traffic = Traffic::new();
    let (aggregate, _) = environment(Arc::new(lanes.clone()));
    for _ in 0..LOGGED.div_ceil(RECORDS) {
        let event = KinesisEvent::decode(&kinesis_event(SHARD, &traffic.next())).unwrap();
        run(&aggregate, &shard, &event);
    }
    group.bench_function("cold", |b| {
        b.iter_batched(
            || {
                let event = KinesisEvent::decode(&kinesis_event(SHARD, &traffic.next())).unwrap();
                (environment(Arc::new(lanes.clone())).0, event)
            },
            |(aggregate, event)| {
                run(&aggregate, &shard, &event);
                aggregate
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = fold
}
criterion_main!(benches);
