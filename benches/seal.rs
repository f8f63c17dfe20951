//! An hour of many clicks, recounted and sealed: `scripts/bench seal [CLICKS]` runs these steps, each as a process of its
//! own, so that the peak of its memory is its own.
//!
//! ```text
//! seal make DIR CLICKS   the raw folder of such an hour, and the counts that live counting would have left
//! seal recount DIR       the lake's reader alone
//! seal hour DIR          the whole service: proof, recount, comparison, sealed items, flip; then what was sealed is checked
//! seal reads DIR         a busy ad's 31 sealed days by the minute, and its year by the day
//! ```
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // A benchmark's output is for the console.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Committed, Condition, PartialWrite};
use clickledger_core::domain::correction::Outcome;
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::AdId;
use clickledger_core::domain::manifest::Manifest;
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::sealed::{QUARTERS, Quarter, SealedDay, SealedHour};
use clickledger_core::domain::time::{Day, HOUR_MS, Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{BucketStore, Clock, LakeReader, Manifests, SealReports, SealedCounts};
use clickledger_core::service::reconcile::{PositionProof, Reconcile, ReconcileConfig, ReconcilePorts};
use clickledger_embedded::{Embedded, OpenOptions, SystemEntropy};
use clickledger_testkit::fixtures::ClickMaker;

/// 2026-01-02T00:00:00Z, and the hour from then on.
const FROM_MS: i64 = 1_767_312_000_000;
const ADS: u64 = 10_000;
const SHARDS: u64 = 2;
/// One in so many clicks lies in the lake twice.
const REPEATED: u64 = 1_000;
/// One in so many came unclaimed.
const UNCLAIMED: u64 = 2_000;
/// One in so many buckets was not counted live.
const LOST: usize = 5_000;
/// Reads of one kind.
const READS: usize = 500;
const MONTH: &str = "31 days by the minute";
const YEAR_TOTALS: &str = "a year by the day";
const YEAR_CELLS: &str = "a year by the day, with cells";
/// Partials of one commit.
const BATCH: usize = 5_000;

fn hour() -> Hour {
    Hour::of(FROM_MS)
}

/// A time when the hour can be sealed.
struct Later;

#[async_trait]
impl Clock for Later {
    fn now_ms(&self) -> i64 {
        FROM_MS + HOUR_MS + HOUR_MS / 2
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    }
}

fn open(dir: &Path) -> Embedded {
    let options = OpenOptions {
        clock: Arc::new(Later),
        ..OpenOptions::default()
    };
    Embedded::open(dir, options).unwrap()
}

type Counts = HashMap<BucketKey, Counters>;

fn count(counts: &mut Counts, record: &ClickRecord) {
    let counter = CounterKey::of(record.verdict, record.device, record.country);
    let placement = record.placement_id.map(Entity::Placement);
    let entities = [
        Some(Entity::Ad(record.ad_id)),
        Some(Entity::Campaign(record.campaign_id)),
        Some(Entity::Advertiser(record.advertiser_id)),
        placement,
        Some(Entity::Total),
    ];
    for entity in entities.into_iter().flatten() {
        let key = BucketKey {
            entity,
            minute: Minute::of(record.clicked_at_ms),
        };
        counts.entry(key).or_default().add(counter, 1);
    }
}

/// The lake: files as the pump appends them, by arrival (80 ms after the click).
fn lake(dir: &Path, clicks: u64) -> Counts {
    let mut files: Vec<BufWriter<File>> = [(0, 0), (0, 1), (1, 0), (1, 1)]
        .into_iter()
        .map(|(hour, shard)| {
            let folder = dir.join(format!("lake/dt=2026-01-02/hr={hour:02}"));
            std::fs::create_dir_all(&folder).unwrap();
            let file = File::create(folder.join(format!("shardId-{shard:012}.ndjson"))).unwrap();
            BufWriter::with_capacity(1 << 20, file)
        })
        .collect();
    let mut maker = ClickMaker::new(4, ADS, FROM_MS, clicks as f64 / 3_600.0);
    let mut counts = Counts::new();
    for n in 0..clicks {
        let mut record = maker.record();
        record.claimed &= record.verdict != Verdict::Valid || n % UNCLAIMED != 0;
        let hour = Hour::of(record.clicked_at_ms + 80).0 - hour().0;
        let line = record.to_line().unwrap();
        let file = &mut files[(hour as u64 * SHARDS + record.ad_id.0 % SHARDS) as usize];
        for _ in 0..1 + u64::from(n % REPEATED == 0) {
            file.write_all(&line).unwrap();
        }
        if Hour::of(record.clicked_at_ms) == self::hour() {
            count(&mut counts, &record);
        }
    }
    for file in &mut files {
        file.flush().unwrap();
    }
    counts
}

async fn make(dir: &Path, clicks: u64) {
    let begun = Instant::now();
    let counts = lake(dir, clicks);
    println!(
        "{} clicks in {} buckets, made in {:.1?}",
        clicks,
        counts.len(),
        begun.elapsed()
    );
    let store = open(dir);
    let mut keys: Vec<BucketKey> = counts.keys().copied().collect();
    keys.sort_unstable();
    let shard: clickledger_core::domain::bucket::ShardId = "shardId-000000000000".into();
    let counted = keys.iter().enumerate().filter(|(n, _)| n % LOST != LOST - 1);
    let writes: Vec<PartialWrite> = counted
        .map(|(_, key)| PartialWrite {
            key: *key,
            shard: Arc::clone(&shard),
            condition: Condition::Below(1.into()),
            last: 1.into(),
            delta: counts[key].clone(),
        })
        .collect();
    for batch in writes.chunks(BATCH) {
        let mut left = batch.to_vec();
        while !left.is_empty() {
            let outcomes = store.buckets().commit(left.clone()).await;
            let mut outcomes = outcomes.into_iter();
            // A store that is full says so.
            left.retain(|_| {
                !matches!(
                    outcomes.next(),
                    Some(Ok(Committed::Applied | Committed::Stale(_)))
                )
            });
        }
    }
    store.close().await;
    // What is true, for who checks.
    let total = |minute| {
        &counts[&BucketKey {
            entity: Entity::Total,
            minute: Minute(minute),
        }]
    };
    let first = hour().first_minute().0;
    let gross: u64 = (first..first + 60).map(|minute| total(minute).gross()).sum();
    let valid: u64 = (first..first + 60).map(|minute| total(minute).valid()).sum();
    std::fs::write(
        dir.join("truth"),
        format!("{gross} {valid} {}", keys.len() / LOST),
    )
    .unwrap();
    println!("live counts written, {:.1?} in all", begun.elapsed());
}

async fn recount(dir: &Path) {
    let store = open(dir);
    let reader = store.lake_reader();
    let begun = Instant::now();
    let recount = reader
        .recount(hour(), Hour(hour().0 - 1)..Hour(hour().0 + 2))
        .await
        .unwrap();
    let counted = begun.elapsed();
    let mut rows = 0;
    loop {
        let page = reader.rows(&recount.id, rows, 10_000).await.unwrap();
        rows += page.len() as u64;
        if page.len() < 10_000 {
            break;
        }
    }
    println!(
        "recounted {:?}: {rows} rows of entities and minutes, counted in {counted:.2?}, read in {:.2?}",
        recount.totals,
        begun.elapsed() - counted
    );
    reader.forget(&recount.id).await.unwrap();
    store.close().await;
}

async fn seal(dir: &Path) {
    let truth = std::fs::read_to_string(dir.join("truth")).unwrap();
    let truth: Vec<u64> = truth.split(' ').map(|number| number.parse().unwrap()).collect();
    let store = open(dir);
    let seals = Arc::new(store.seals());
    // As after the seal of the hour before: the range of what is to be sealed is known.
    let manifest = Manifest::open(hour());
    assert!(seals.flip(&manifest).await.unwrap());
    let clock = Arc::new(Later);
    let ports = ReconcilePorts {
        lake: Arc::new(store.lake_reader()),
        proof: Arc::new(PositionProof::new(Arc::new(store.stream()), clock.clone())),
        claims: Arc::new(store.claims()),
        buckets: Arc::new(store.buckets()),
        catalog: Arc::new(store.catalog()),
        manifests: seals.clone(),
        leases: seals.clone(),
        rulings: seals.clone(),
        counts: seals.clone(),
        reports: seals.clone(),
        clock,
        entropy: Arc::new(SystemEntropy),
    };
    let config = ReconcileConfig {
        catch_up_ms: 2 * HOUR_MS,
        ..ReconcileConfig::default()
    };
    let reconcile = Reconcile::new(ports, config, Mutation::default());
    let begun = Instant::now();
    let reports = reconcile.hourly().await.unwrap();
    let took = begun.elapsed();
    let report = reports.iter().find(|report| report.hour == hour()).unwrap();
    println!("sealed in {took:.2?}: {report:?}");
    assert_eq!(report.outcome, Outcome::Sealed, "{}", report.detail);
    assert_eq!(
        (report.lake.clicks, report.lake.valid, report.corrections),
        (truth[0], truth[1], truth[2]),
        "not what was made"
    );
    let next = Hour(hour().0 + 1);
    let total = seals.read_hour_totals(Entity::Total, hour(), next).await.unwrap();
    let valid: u64 = total[0].minutes.iter().map(|minute| minute.valid).sum();
    assert_eq!((total.len(), valid), (1, truth[1]));
    let corrections = seals.corrections(hour(), None, usize::MAX).await.unwrap();
    assert_eq!(corrections.len() as u64, truth[2]);
    store.close().await;
}

/// A minute with thirty cells and three verdicts.
fn minute(n: u64) -> Counters {
    let cells = (0..30).filter_map(|cell| CounterKey::from_u16(((cell % 3) << 8) | ((cell / 3) * 8)));
    let verdicts = [Verdict::Prefetch, Verdict::Bot, Verdict::Duplicate];
    let verdicts = verdicts.map(|verdict| CounterKey::of(verdict, Device::Mobile, Country::ZZ));
    let keys = cells.chain(verdicts).enumerate();
    keys.map(|(place, key)| (key, n * 31 % 89 + place as u64))
        .collect()
}

async fn reads(dir: &Path) {
    const YEAR: i64 = 365;
    let store = open(dir);
    let seals = store.seals();
    let day = Day(hour().day().0 - YEAR);
    // As they are written: hour after hour, every entity's.
    let ads: Vec<Entity> = (1..=50).map(|ad| Entity::Ad(AdId(ad))).collect();
    for n in 0..YEAR {
        let of = Day(day.0 + n);
        let mut hours = vec![Vec::new(); ads.len()];
        for hour in of.hours().filter(|_| n < 31) {
            let items: Vec<SealedHour> = ads
                .iter()
                .map(|entity| SealedHour {
                    entity: *entity,
                    hour,
                    version: 1,
                    minutes: (0..60).map(|place| (place, minute(u64::from(place)))).collect(),
                })
                .collect();
            for (all, item) in hours.iter_mut().zip(&items) {
                all.push(item.clone());
            }
            seals.write_hours(hour, 1, 0, items).await.unwrap();
        }
        let quarter = |place| Quarter {
            place,
            counters: minute(place.into()),
            peak: (3, 90),
        };
        let items = ads.iter().map(|entity| SealedDay {
            entity: *entity,
            day: of,
            version: 1,
            quarters: (0..QUARTERS).map(quarter).collect(),
        });
        seals.write_days(items.collect()).await.unwrap();
    }
    let (first, last) = (day.first_hour(), Day(day.0 + 31).first_hour());
    for name in [MONTH, YEAR_TOTALS, YEAR_CELLS] {
        let (mut times, spent) = (Vec::with_capacity(READS), cpu_ms());
        for n in 0..READS {
            let (entity, begun) = (ads[n % ads.len()], Instant::now());
            let days = match name {
                MONTH => {
                    let month = seals.read_hour_totals(entity, first, last).await.unwrap();
                    month.iter().map(|hour| hour.minutes.len()).sum::<usize>() / 1_440
                }
                YEAR_TOTALS => seals
                    .read_day_totals(entity, day, hour().day())
                    .await
                    .unwrap()
                    .len(),
                _ => seals.read_days(entity, day, hour().day()).await.unwrap().len(),
            };
            times.push(begun.elapsed().as_secs_f64() * 1_000.0);
            assert_eq!(days as i64, if name == MONTH { 31 } else { YEAR });
        }
        let cpu = (cpu_ms() - spent) / READS as f64;
        times.sort_by(f64::total_cmp);
        let (median, p99) = (times[READS / 2], times[READS * 99 / 100]);
        println!("{name}: median {median:.2} ms, p99 {p99:.2} ms, processor time {cpu:.2} ms a read");
    }
    store.close().await;
}

/// Processor time of this process so far, in the kernel's ticks of 10 ms.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap());
    ticks.sum::<u64>() as f64 * 10.0
}

/// Peak of this process's memory.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn main() {
    // Cargo passes `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments[..] {
        ["make", dir, clicks] => runtime.block_on(make(Path::new(dir), clicks.parse().unwrap())),
        ["recount", dir] => runtime.block_on(recount(Path::new(dir))),
        ["reads", dir] => runtime.block_on(reads(Path::new(dir))),
        ["hour", dir] => runtime.block_on(seal(Path::new(dir))),
        _ => println!("seal make DIR CLICKS | recount DIR | hour DIR | reads DIR"),
    }
    println!("{}", peak());
}
