//! The embedded store under traffic as `load` makes it: `cargo bench -p clickledger-benches --bench embedded [part…]`.
//!
//! Each part runs in a process of its own, several times, and prints medians: operations a second, CPU time and bytes
//! written to the disk for each operation (traffic's own making taken off), how long single calls took, and the most memory
//! that the process ever held. Clicks are on 10,000 ads, Zipf 1.1. Where a part plays simulated time, the store's clock
//! moves with the clicks, so that what it does by the minute is done as often as in real time.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // a benchmark's output is for the console.

#[path = "embedded/measure.rs"]
mod measure;
#[path = "embedded/traffic.rs"]
mod traffic;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clickledger_core::domain::bucket::Committed;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{ClickId, ImpressionId};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::time::{DAY_MS, Minute};
use clickledger_core::ports::{
    BucketStore, Claim, ClaimStore, ClickStream, Outgoing, RawLake, ShardReader, StreamRecord,
};
use clickledger_core::service::aggregate::{Aggregate, AggregateConfig, AggregatePorts};
use clickledger_core::service::pump::{AGGREGATE, LAKE, LakeDelivery, Pump};
use clickledger_embedded::Embedded;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::measure::{Part, Used, header, sizes};
use crate::traffic::{Clicks, SHARDS, START_MS, fold, open, shards};

/// Clicks that are under way at the same time.
const AT_ONCE: usize = 256;

/// One click as it is written: its claim, then its record.
async fn write_click(store: &Embedded, impression_id: ImpressionId, click: &ClickRecord) -> Duration {
    let begin = Instant::now();
    let claim = Claim {
        impression_id,
        click_id: click.click_id,
        expires_ms: click.clicked_at_ms + 3 * DAY_MS,
    };
    store.claims().claim(claim, click.clicked_at_ms).await.unwrap();
    let outgoing = Outgoing {
        partition_key: click.partition_key.clone(),
        data: click.to_line().unwrap(),
    };
    for published in store.stream().publish(vec![outgoing]).await {
        published.unwrap();
    }
    begin.elapsed()
}

/// Claims and publishes, `at_once` clicks at a time.
async fn clicks(store: &Embedded, part: &mut Part, at_once: usize, clicks: Vec<(ImpressionId, ClickRecord)>) {
    let mut running = JoinSet::new();
    for (impression, click) in clicks {
        if running.len() >= at_once {
            part.call(running.join_next().await.unwrap().unwrap());
        }
        let store = store.clone();
        running.spawn(async move { write_click(&store, impression, &click).await });
    }
    while let Some(taken) = running.join_next().await {
        part.call(taken.unwrap());
    }
}

/// Claims in the order of clicks, whose impressions were shown at `shown` of the time of the click.
fn claims(name: &str, shown: impl Fn(i64, &mut StdRng) -> i64) {
    const COUNT: usize = 100_000;
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let (store, mut random) = (open(dir.path()).0, StdRng::seed_from_u64(1));
    let mut part = Part::new(format!("claim and publish, {name}"));
    let mut made = Clicks::new(1, 10_000.0);
    // The first run only fills the table.
    for run in 0..6 {
        let batch: Vec<_> = (0..COUNT)
            .map(|_| {
                let click = made.click();
                let impression = ImpressionId::new(shown(click.clicked_at_ms, &mut random), random.random());
                (impression, click)
            })
            .collect();
        let before = Used::now();
        runtime.block_on(clicks(&store, &mut part, AT_ONCE, batch));
        if run > 0 {
            part.runs.push(before.since(COUNT));
        } else {
            part.calls.reset();
        }
    }
    part.print();
    runtime.block_on(store.close());
}

/// Partials of 600,000 clicks; beside them somebody claims now and then, and measures how long that takes.
fn partials(per_second: f64) {
    const COUNT: usize = 600_000;
    const BATCH: usize = 500;
    let runtime = Runtime::new().unwrap();
    let shards = shards();
    let mut part = Part::new(format!(
        "partials of clicks, {per_second} a second (calls: claims)"
    ));
    let mut folding = Clicks::new(1, per_second);
    let before = Used::now();
    for _ in 0..COUNT / BATCH / 10 {
        fold(&mut folding, BATCH, &mut 1, &shards[0]);
    }
    let own = before.since(COUNT / 10);
    let (mut slowest, mut files) = (Duration::ZERO, [0; 2]);
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let (store, clock) = open(dir.path());
        let (mut made, mut next, stop) = (Clicks::new(1, per_second), 1, Arc::new(AtomicBool::new(false)));
        let (ended, claims) = (stop.clone(), store.claims());
        let prober = runtime.spawn(async move {
            let (mut calls, mut n) = (Vec::new(), 0);
            while !ended.load(Ordering::Relaxed) {
                let (at, begin) = (START_MS + n, Instant::now());
                let claim = Claim {
                    impression_id: ImpressionId::new(at, [1; 10]),
                    click_id: ClickId::new(at, [2; 10]),
                    expires_ms: at + DAY_MS,
                };
                claims.claim(claim, at).await.unwrap();
                calls.push(begin.elapsed());
                n += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            calls
        });
        let before = Used::now();
        for batch in 0..COUNT / BATCH {
            let (now_ms, writes) = fold(&mut made, BATCH, &mut next, &shards[batch % SHARDS]);
            clock.0.store(now_ms, Ordering::Relaxed);
            let begin = Instant::now();
            for outcome in runtime.block_on(store.buckets().commit(writes)) {
                assert_eq!(outcome.unwrap(), Committed::Applied);
            }
            slowest = slowest.max(begin.elapsed());
        }
        let [wall, cpu, written] = before.since(COUNT);
        files = sizes(dir.path());
        part.runs.push([wall - own[0], cpu - own[1], written]);
        stop.store(true, Ordering::Relaxed);
        for call in runtime.block_on(prober).unwrap() {
            part.call(call);
        }
        runtime.block_on(store.close());
    }
    part.print();
    let [database, wal] = files;
    println!(
        "  slowest commit of a batch {slowest:.1?}; database {database} MiB, its write-ahead log {wal} MiB"
    );
}

/// The whole way of 600,000 clicks over ten minutes: claimed, published, aggregated, delivered to the lake.
fn whole() {
    const COUNT: usize = 600_000;
    const BATCH: usize = 2_000;
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let (store, clock) = open(dir.path());
    let ports = AggregatePorts {
        claims: Arc::new(store.claims()),
        buckets: Arc::new(store.buckets()),
        lanes: Arc::new(store.lanes()),
        shards: Arc::new(store.stream()),
        quarantine: Arc::new(store.quarantine()),
        seals: Arc::new(store.seals()),
        clock: clock.clone(),
        catalog: Arc::new(store.catalog()),
    };
    let aggregate = Aggregate::new(ports, AggregateConfig::default(), Mutation::default());
    let pump = |consumer| Pump::new(Arc::new(store.stream()), consumer, BATCH);
    let counting = pump(Arc::new(aggregate));
    let delivering = pump(Arc::new(LakeDelivery::new(Arc::new(store.lake()))));
    let mut part = Part::new("whole way of a click (calls: claim and publish)");
    let mut made = Clicks::new(1, COUNT as f64 / 600.0);
    let before = Used::now();
    for _ in 0..COUNT / BATCH {
        let batch: Vec<_> = (0..BATCH)
            .map(|_| {
                let click = made.click();
                (
                    ImpressionId::new(click.clicked_at_ms, made.random.random()),
                    click,
                )
            })
            .collect();
        let now_ms = batch[BATCH - 1].1.clicked_at_ms;
        clock.0.store(now_ms, Ordering::Relaxed);
        runtime.block_on(async {
            clicks(&store, &mut part, BATCH, batch).await;
            for pump in [&counting, &delivering] {
                while pump.round().await.unwrap().done > 0 {}
            }
            let before_ms = now_ms - 300_000;
            store
                .stream()
                .trim(&[AGGREGATE, LAKE], before_ms, BATCH)
                .await
                .unwrap();
        });
    }
    part.runs.push(before.since(COUNT));
    part.print();
    let [database, wal] = sizes(dir.path());
    println!("  database {database} MiB, its write-ahead log {wal} MiB");
    runtime.block_on(store.close());
}

fn lake() {
    const BATCH: usize = 500;
    const BATCHES: usize = 400;
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let (store, shards) = (open(dir.path()).0, shards());
    let (mut part, mut made) = (
        Part::new("lake, a record in batches of 500"),
        Clicks::new(1, 10_000.0),
    );
    let batch: Vec<StreamRecord> = (1..=BATCH as u64)
        .map(|n| StreamRecord {
            sequence_number: n.into(),
            arrived_at_ms: START_MS,
            data: made.click().to_line().unwrap(),
        })
        .collect();
    for _ in 0..5 {
        let before = Used::now();
        for n in 0..BATCHES {
            let begin = Instant::now();
            runtime
                .block_on(store.lake().append(&shards[n % SHARDS], &batch))
                .unwrap();
            part.call(begin.elapsed());
        }
        part.runs.push(before.since(BATCH * BATCHES));
    }
    part.print();
    runtime.block_on(store.close());
}

/// Opens a folder whose log holds 200,000 writes and more, as a killed process leaves it.
fn recovery() {
    let dir = tempfile::tempdir().unwrap();
    let killed = Command::new(std::env::current_exe().unwrap())
        .arg("leave-a-log")
        .arg(dir.path())
        .output()
        .unwrap();
    let writes: usize = String::from_utf8_lossy(&killed.stdout).trim().parse().unwrap();
    let (mut part, runtime) = (
        Part::new(format!("opening after a crash, {writes} writes")),
        Runtime::new().unwrap(),
    );
    let before = Used::now();
    let (store, _) = open(dir.path());
    part.call(before.at.elapsed());
    part.runs.push(before.since(writes));
    part.print();
    let (from, to) = (Minute::of(START_MS), Minute::of(START_MS + DAY_MS));
    let total = runtime
        .block_on(store.buckets().read_totals(Entity::Total, from, to))
        .unwrap();
    let count: u64 = total
        .iter()
        .map(|t| t.valid + t.invalid.iter().sum::<u64>())
        .sum();
    assert_eq!(count, LEFT as u64, "what was committed is counted");
    runtime.block_on(store.close());
}

/// Clicks whose partials the killed process has committed.
const LEFT: usize = 220_000;

/// Commits, with a clock that stands still, and ends without closing anything.
fn leave_a_log(dir: &Path) {
    let (runtime, shards) = (Runtime::new().unwrap(), shards());
    let (store, _) = open(dir);
    let (mut made, mut next, mut count) = (Clicks::new(1, 10_000.0), 1, 0);
    for batch in 0..LEFT / 500 {
        let (_, writes) = fold(&mut made, 500, &mut next, &shards[batch % SHARDS]);
        count += writes.len();
        for outcome in runtime.block_on(store.buckets().commit(writes)) {
            assert_eq!(outcome.unwrap(), Committed::Applied);
        }
    }
    println!("{count}");
    std::process::exit(0);
}

/// The parts, by the names that the command takes.
const PARTS: [(&str, fn()); 7] = [
    ("claims-in-order", || {
        claims("in the order of impressions", |clicked_at_ms, _| clicked_at_ms);
    }),
    ("claims-as-they-come", || {
        let within_90_s = |clicked_at_ms, random: &mut StdRng| clicked_at_ms - random.random_range(0..90_000);
        claims("within 90 s of the impression", within_90_s);
    }),
    ("claims-at-random", || {
        let within_a_day =
            |clicked_at_ms, random: &mut StdRng| clicked_at_ms - random.random_range(0..DAY_MS);
        claims("within a day of the impression", within_a_day);
    }),
    ("partials", || {
        for per_second in [10_000.0, 1_000.0] {
            partials(per_second);
        }
    }),
    ("lake", lake),
    ("whole", whole),
    ("recovery", recovery),
];

fn main() {
    // Cargo adds an option of its own.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    match wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["leave-a-log", dir] => return leave_a_log(Path::new(dir)),
        ["part", name] => {
            if let Some((_, part)) = PARTS.iter().find(|(known, _)| *known == name) {
                part();
            }
            return;
        }
        _ => header(),
    }
    for (name, _) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            let part = Command::new(std::env::current_exe().unwrap())
                .args(["part", name])
                .status();
            assert!(part.unwrap().success(), "{name} failed");
        }
    }
}
