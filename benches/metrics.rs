//! Queries of one busy ad: `cargo bench -p clickledger-benches --bench metrics`.
//!
//! Every minute of a year has a partial from each of two shards, with about thirty device × country cells. The queries
//! are over a day, a month and a year of them: on the embedded database, live (from partials) and sealed (from hours and
//! days), and on minutes that lie ready in memory: the difference is the reading. After criterion's means come the
//! percentiles of single queries, as a table.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // criterion's macros; and a benchmark's output is for the console.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Bucket, Committed, Condition, PartialWrite, ShardId};
use clickledger_core::domain::counter::{Counted, CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::AdId;
use clickledger_core::domain::manifest::{HourState, Manifest};
use clickledger_core::domain::sealed::{SealedDay, SealedHour};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{DAY_MS, Day, Hour, MINUTE_MS, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{
    BucketStore, Clock, Manifests, MinuteTotals, PortError, PortResult, SealedCounts,
};
use clickledger_core::service::metrics::{
    CountStores, Granularity, GroupBy, MetricsConfig, MetricsQuery, MetricsService,
};
use clickledger_embedded::{Embedded, OpenOptions, SystemClock};
use criterion::{BenchmarkId, Criterion};
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Runtime;

const AD: Entity = Entity::Ad(AdId(731));
/// 2025-01-01T00:00:00Z
const FROM_MS: i64 = 1_735_689_600_000;
const YEAR_MINUTES: i64 = 365 * 1440;
const SHARDS: usize = 2;
/// Partials of one commit.
const BATCH: usize = 5000;

/// A busy minute's share of one shard.
fn delta(random: &mut StdRng) -> Counters {
    let countries = ["DE", "US", "GB", "FR", "NL", "ES", "IT", "PL", "IN", "ZZ"];
    let devices = [Device::Desktop, Device::Mobile, Device::Tablet];
    let mut counters = Counters::default();
    for country in countries {
        let country: Country = country.parse().unwrap();
        for device in devices {
            let count = random.random_range(0..40);
            counters.add(CounterKey::of(Verdict::Valid, device, country), count);
        }
    }
    for verdict in [Verdict::Prefetch, Verdict::Bot, Verdict::Duplicate] {
        counters.add(
            CounterKey::of(verdict, Device::Desktop, Country::ZZ),
            random.random_range(0..10),
        );
    }
    counters
}

/// A year of partials.
fn partials() -> impl Iterator<Item = PartialWrite> {
    let shards: Vec<ShardId> = (0..SHARDS)
        .map(|shard| format!("shardId-{shard:012}").into())
        .collect();
    let mut random = StdRng::seed_from_u64(731);
    (0..YEAR_MINUTES).flat_map(move |minute| {
        let sequence = SequenceNumber::from(minute.cast_unsigned() + 1);
        let write = |shard: &ShardId| PartialWrite {
            key: BucketKey {
                entity: AD,
                minute: Minute(FROM_MS / MINUTE_MS + minute),
            },
            shard: Arc::clone(shard),
            condition: Condition::Below(sequence),
            last: sequence,
            delta: delta(&mut random),
        };
        shards.iter().map(write).collect::<Vec<_>>()
    })
}

/// The same minutes, added up beforehand: what is left is the service's own work.
struct Ready {
    totals: Vec<MinuteTotals>,
    buckets: Vec<Bucket>,
}

impl Ready {
    fn new() -> Self {
        let mut buckets: Vec<Bucket> = Vec::new();
        for write in partials() {
            match buckets
                .last_mut()
                .filter(|bucket| bucket.minute == write.key.minute)
            {
                Some(bucket) => bucket.counters.merge(&write.delta),
                None => buckets.push(Bucket {
                    entity: AD,
                    minute: write.key.minute,
                    counters: write.delta,
                }),
            }
        }
        let totals = |bucket: &Bucket| {
            let mut invalid = [0; 9];
            for (key, count) in bucket.counters.iter() {
                if let Counted::Invalid(verdict) = key.counted() {
                    invalid[verdict as usize] = count;
                }
            }
            MinuteTotals {
                minute: bucket.minute,
                valid: bucket.counters.valid(),
                invalid,
            }
        };
        Self {
            totals: buckets.iter().map(totals).collect(),
            buckets,
        }
    }

    fn places(from: Minute, to: Minute) -> std::ops::Range<usize> {
        let place = |minute: Minute| (minute.0 - FROM_MS / MINUTE_MS).clamp(0, YEAR_MINUTES) as usize;
        place(from)..place(to)
    }
}

#[async_trait]
impl BucketStore for Ready {
    async fn commit(&self, writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>> {
        writes
            .iter()
            .map(|_| Err(PortError::rejected("only read here")))
            .collect()
    }

    async fn read(&self, _entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<Bucket>> {
        Ok(self.buckets[Self::places(from, to)].to_vec())
    }

    async fn read_totals(&self, _entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<MinuteTotals>> {
        Ok(self.totals[Self::places(from, to)].to_vec())
    }
}

async fn fill(buckets: &dyn BucketStore) {
    let mut writes = partials().peekable();
    while writes.peek().is_some() {
        for outcome in buckets.commit(writes.by_ref().take(BATCH).collect()).await {
            assert_eq!(outcome.unwrap(), Committed::Applied);
        }
    }
}

/// The same year sealed, and a day on both sides of it for the zones.
async fn seal(manifests: &dyn Manifests, sealed: &dyn SealedCounts, minutes: &[Bucket]) {
    let first = Hour::of(FROM_MS).0;
    let mut hours = Vec::new();
    for (place, minutes) in minutes.chunks(60).enumerate() {
        let hour = Hour(first + place as i64);
        let item = SealedHour {
            entity: AD,
            hour,
            version: 1,
            minutes: (0..)
                .zip(minutes.iter().map(|bucket| bucket.counters.clone()))
                .collect(),
        };
        sealed.write_hours(hour, 1, 0, vec![item.clone()]).await.unwrap();
        hours.push(item);
    }
    let days = Day::of(FROM_MS).0 - 1..Day::of(FROM_MS).0 + YEAR_MINUTES / 1440 + 1;
    for day in days.map(Day) {
        for hour in day.hours() {
            let manifest = Manifest {
                state: HourState::Sealed,
                version: 1,
                ..Manifest::open(hour)
            };
            assert!(manifests.flip(&manifest).await.unwrap());
        }
        let of_day = (day.first_hour().0 - first).clamp(0, hours.len() as i64) as usize;
        let of_day = &hours[of_day..(of_day + 24).min(hours.len())];
        let items = SealedDay::of_hours(AD, day, 1, of_day);
        sealed.write_days(items.into_iter().collect()).await.unwrap();
        let generation = manifests.days(day, Day(day.0 + 1)).await.unwrap()[0].generation;
        assert!(manifests.flip_day(day, generation, 1).await.unwrap());
    }
}

/// The queries, by name.
fn queries() -> Vec<(&'static str, MetricsQuery)> {
    // A local year begins at local midnight.
    let year = |zone: &str, offset_minutes: i64, group_by| {
        let from_ms = FROM_MS - offset_minutes * MINUTE_MS;
        MetricsQuery {
            granularity: Granularity::Day,
            group_by,
            time_zone: zone.to_owned(),
            ..MetricsQuery::over(AD, from_ms, from_ms + 365 * DAY_MS)
        }
    };
    let query = |days, granularity, group_by| MetricsQuery {
        granularity,
        group_by,
        time_zone: "Europe/Berlin".to_owned(),
        ..MetricsQuery::over(AD, FROM_MS, FROM_MS + days * DAY_MS)
    };
    let sliding = |window: &str, query| MetricsQuery {
        window: window.parse().ok(),
        ..query
    };
    use Granularity::{Day, Hour, Minute};
    vec![
        ("day by minute", query(1, Minute, GroupBy::None)),
        (
            "day by minute, window 15m",
            sliding("15m", query(1, Minute, GroupBy::None)),
        ),
        ("day by minute and device", query(1, Minute, GroupBy::Device)),
        ("31 days by hour", query(31, Hour, GroupBy::None)),
        ("31 days by hour and country", query(31, Hour, GroupBy::Country)),
        ("31 days by minute, first page", query(31, Minute, GroupBy::None)),
        ("365 days by day", query(365, Day, GroupBy::None)),
        ("a year by day, UTC", year("UTC", 0, GroupBy::None)),
        ("a year by day, Kolkata", year("Asia/Kolkata", 330, GroupBy::None)),
        (
            "a year by day, New York",
            year("America/New_York", -300, GroupBy::None),
        ),
        (
            "a year by day, Lord Howe",
            year("Australia/Lord_Howe", 660, GroupBy::None),
        ),
        ("a year by day and verdict, UTC", year("UTC", 0, GroupBy::Verdict)),
        ("a year by day and device, UTC", year("UTC", 0, GroupBy::Device)),
    ]
}

fn percentiles(runtime: &Runtime, name: &str, service: &MetricsService) {
    for (asked, query) in queries() {
        let mut taken = Histogram::<u64>::new(3).unwrap();
        let end = Instant::now() + Duration::from_secs(8);
        while Instant::now() < end && taken.len() < 1000 {
            let begin = Instant::now();
            black_box(runtime.block_on(service.query(&query)).unwrap());
            taken.record(begin.elapsed().as_micros() as u64).unwrap();
        }
        let ms = |quantile| taken.value_at_quantile(quantile) as f64 / 1000.0;
        let runs = taken.len();
        println!(
            "{name:<9} {asked:<32} {:>9.2} {:>9.2} {:>9.2} {runs:>6}",
            ms(0.5),
            ms(0.99),
            ms(1.0)
        );
    }
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    runtime.block_on(fill(&embedded.buckets()));

    let ready = Arc::new(Ready::new());
    let sealed_dir = tempfile::tempdir().unwrap();
    let sealed = Embedded::open(sealed_dir.path(), OpenOptions::default()).unwrap();
    let seals = Arc::new(sealed.seals());
    runtime.block_on(seal(&*seals, &*seals, &ready.buckets));

    let service = |stores: CountStores| {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        MetricsService::new(stores, clock, MetricsConfig::default())
    };
    let live = CountStores {
        buckets: Arc::new(embedded.buckets()),
        manifests: Arc::new(embedded.seals()),
        sealed: Arc::new(embedded.seals()),
    };
    let sealed_stores = CountStores {
        buckets: Arc::new(sealed.buckets()),
        manifests: seals.clone(),
        sealed: seals,
    };
    let services = [
        ("live", service(live)),
        ("sealed", service(sealed_stores)),
        ("memory", service(CountStores::unsealed(ready))),
    ];

    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    for (name, service) in &services {
        let mut group = criterion.benchmark_group(format!("metrics/{name}"));
        for (asked, query) in queries() {
            group.bench_with_input(BenchmarkId::from_parameter(asked), &query, |bencher, query| {
                bencher.iter(|| runtime.block_on(service.query(query)).unwrap());
            });
        }
        group.finish();
    }
    criterion.final_summary();

    println!(
        "\n{:<9} {:<32} {:>9} {:>9} {:>9} {:>6}",
        "store", "query", "p50 ms", "p99 ms", "max ms", "runs"
    );
    for (name, service) in &services {
        percentiles(&runtime, name, service);
    }
    runtime.block_on(embedded.close());
    runtime.block_on(sealed.close());
}
