//! The AWS adapters of sealing under the suites that every adapter passes, against a local emulator; as tests/contract.rs.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/src/emulator.rs"]
#[allow(unreachable_pub)] // it is a library's module elsewhere
mod emulator;
#[path = "../../../tests/src/fault_proxy.rs"]
#[allow(unreachable_pub, dead_code)]
mod fault_proxy;
#[allow(unreachable_pub, dead_code)] // not every suite uses all of it
mod resources;
#[path = "../../../tests/src/unload.rs"]
#[allow(unreachable_pub)]
mod unload;

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use clickledger_aws::{
    AthenaLake, Beats, Compaction, Hours, LakeDay, Patience, Resource, SealedItems, Shards,
};
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::ids::{ClickId, HeartbeatId};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{DAY_MS, Hour};
use clickledger_core::ports::{
    ClickedHour, Heartbeats, LakeClick, LakeReader, LakeSlice, PortResult, Position, Recount, RecountRow,
    Shard, ShardReader, StreamRecord,
};
use clickledger_testkit::contract::lake_reader::LakeUnderTest;
use clickledger_testkit::fixtures::ClickMaker;
use emulator::Emulator;
use resources::Account;
use tokio::sync::Mutex;

type Alive = Arc<Emulator>;

async fn open_hours() -> (Hours, Alive) {
    let account = Account::new();
    account.hours().await;
    (account.aws.hours(Patience::UNHURRIED).unwrap(), account.emulator)
}

async fn open_counts() -> (SealedItems, Alive) {
    let account = Account::new();
    account.hours().await;
    account.buckets().await;
    let counts = account.aws.sealed_counts(Patience::UNHURRIED);
    (counts.unwrap(), account.emulator)
}

/// A lake that the suite fills.
struct Lake {
    lake: AthenaLake,
    s3: aws_sdk_s3::Client,
    bucket: String,
}

async fn open_lake() -> (Lake, Alive) {
    let account = Account::new();
    account.lake().await;
    let bucket = account.name(Resource::Bucket);
    let lake = Lake {
        lake: account.aws.lake(Patience::UNHURRIED).await.unwrap(),
        s3: account.aws.s3(),
        bucket,
    };
    (lake, account.emulator)
}

#[async_trait]
impl LakeUnderTest for Lake {
    fn reader(&self) -> &dyn LakeReader {
        &self.lake
    }

    async fn deliver(&self, arrival: Hour, lines: Vec<Vec<u8>>) {
        // On AWS what is no JSON is a row of nulls; the emulator's engine reads no file that holds it.
        let lines = lines.into_iter().filter(|line| line.starts_with(b"{"));
        let body: Vec<u8> = lines.flatten().collect();
        let (day, hour) = (arrival.0.div_euclid(24), arrival.0.rem_euclid(24));
        let date = jiff::civil::date(1970, 1, 1)
            .checked_add(jiff::Span::new().days(day))
            .unwrap();
        let key = format!(
            "lake/dt={date}/hr={hour:02}/{:016x}.ndjson",
            RandomState::new().hash_one(day)
        );
        let put = self.s3.put_object().bucket(&self.bucket).key(key);
        put.body(body.into()).send().await.unwrap();
    }
}

/// Every field that a statement may ask for, in a row that counts for nothing: the emulator's engine knows of no other.
const EVERY_FIELD: &str = r#"{"v":0,"click_id":"x","impression_id":"x","ad_id":"0","campaign_id":"0","advertiser_id":"0",
"placement_id":"0","clicked_at_ms":0,"verdict":"x","duplicate_of":"x","claimed":false,"device":"x","country":"x","heartbeat":"x"}"#;
/// Where that row lies: 2000-01-01.
const LONG_AGO: Hour = Hour(262_968);

/// A lake of which each day is made Parquet when it is first read from. What comes to it later makes it one of objects again.
struct CompactedLake {
    lake: Lake,
    compaction: Compaction,
    days: Mutex<BTreeSet<LakeDay>>,
    compacted: Mutex<BTreeSet<LakeDay>>,
    unload: unload::Unload,
}

async fn open_compacted() -> (CompactedLake, Alive) {
    let account = Account::new();
    account.lake().await;
    let (endpoint, number) = account.at();
    let unload = unload::start(&endpoint, &number).unwrap();
    let aws = account.through(&unload.url());
    let lake = Lake {
        lake: aws.lake(Patience::UNHURRIED).await.unwrap(),
        s3: account.aws.s3(),
        bucket: account.name(Resource::Bucket),
    };
    let line = format!("{}\n", EVERY_FIELD.replace('\n', ""));
    lake.deliver(LONG_AGO, vec![line.into_bytes()]).await;
    let lake = CompactedLake {
        lake,
        compaction: aws.compaction(Patience::UNHURRIED).await.unwrap(),
        days: Mutex::default(),
        compacted: Mutex::default(),
        unload,
    };
    (lake, account.emulator)
}

impl CompactedLake {
    async fn compacted(&self) -> &AthenaLake {
        let (days, mut compacted) = (self.days.lock().await, self.compacted.lock().await);
        for day in days.iter() {
            if compacted.insert(day.clone()) {
                self.compaction.compact(day, 0).await.unwrap();
            }
        }
        &self.lake.lake
    }
}

#[async_trait]
impl LakeUnderTest for CompactedLake {
    fn reader(&self) -> &dyn LakeReader {
        self
    }

    async fn deliver(&self, arrival: Hour, lines: Vec<Vec<u8>>) {
        self.days.lock().await.insert(LakeDay::of(arrival.day()));
        self.lake.deliver(arrival, lines).await;
    }
}

#[async_trait]
impl LakeReader for CompactedLake {
    async fn heartbeats(&self, arrivals: Range<Hour>) -> PortResult<HashSet<HeartbeatId>> {
        self.compacted().await.heartbeats(arrivals).await
    }
    async fn present(&self, arrivals: Range<Hour>, clicks: &[ClickId]) -> PortResult<HashSet<ClickId>> {
        self.compacted().await.present(arrivals, clicks).await
    }
    async fn undelivered(&self, arrivals: Range<Hour>) -> PortResult<u64> {
        self.lake.lake.undelivered(arrivals).await
    }
    async fn clicked_hours(&self, arrivals: Range<Hour>) -> PortResult<Vec<ClickedHour>> {
        self.compacted().await.clicked_hours(arrivals).await
    }
    async fn unclaimed(
        &self,
        slice: &LakeSlice,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        self.compacted().await.unclaimed(slice, after, limit).await
    }
    async fn clicks(&self, slice: &LakeSlice, clicks: &[ClickId]) -> PortResult<Vec<LakeClick>> {
        self.compacted().await.clicks(slice, clicks).await
    }
    async fn orphaned(
        &self,
        slice: &LakeSlice,
        owners: Range<Hour>,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>> {
        self.compacted().await.orphaned(slice, owners, after, limit).await
    }
    async fn recount(&self, hour: Hour, arrivals: Range<Hour>) -> PortResult<Recount> {
        self.compacted().await.recount(hour, arrivals).await
    }
    async fn rows(&self, recount: &str, from: u64, limit: usize) -> PortResult<Vec<RecountRow>> {
        self.lake.lake.rows(recount, from, limit).await
    }
    async fn forget(&self, recount: &str) -> PortResult<()> {
        self.lake.lake.forget(recount).await
    }
}

/// 2026-01-02T00:00:00Z.
const HOUR: Hour = Hour(490_920);

/// A day of clicks and a heartbeat, and how the lake counts an hour of it.
async fn fill(lake: &CompactedLake) -> Vec<Vec<u8>> {
    let mut clicks = ClickMaker::new(1, 5, HOUR.start_ms(), 1.0);
    let lines: Vec<Vec<u8>> = (0..40).map(|_| clicks.record().to_line().unwrap()).collect();
    lake.deliver(HOUR, lines[..30].to_vec()).await;
    lake.deliver(HOUR, lines[20..30].to_vec()).await;
    lines
}

/// Clicks and rows of the hour, and whether Parquet was read.
async fn counted(lake: &CompactedLake) -> (u64, u64, bool) {
    let recount = lake
        .lake
        .lake
        .recount(HOUR, Hour(HOUR.0 - 2)..Hour(HOUR.0 + 2))
        .await
        .unwrap();
    let statements = lake.unload.statements();
    let parquet = statements.last().unwrap().contains("clicks_history");
    (recount.totals.clicks, recount.totals.rows, parquet)
}

async fn keys(lake: &CompactedLake, prefix: &str) -> Vec<String> {
    let list = lake
        .lake
        .s3
        .list_objects_v2()
        .bucket(&lake.lake.bucket)
        .prefix(prefix);
    let listed = list.send().await.unwrap();
    let keys = listed.contents().iter().filter_map(|object| object.key());
    keys.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_day_is_read_as_parquet_until_its_objects_change() {
    let (lake, _alive) = open_compacted().await;
    let lines = fill(&lake).await;
    let day = LakeDay::of(HOUR.day());
    let next = LakeDay::parse("2026-01-03").unwrap();
    let days = lake.compaction.days(None, &next).await.unwrap();
    assert_eq!(days, [LakeDay::of(LONG_AGO.day()), day.clone()]);
    assert_eq!(counted(&lake).await, (30, 40, false));
    assert_eq!(lake.compaction.compact(&day, 0).await.unwrap(), Some(40));
    let files = keys(&lake, "history/").await;
    assert!(
        files.len() == 1 && files[0].starts_with("history/dt=2026-01-02/run="),
        "{files:?}"
    );
    assert_eq!(counted(&lake).await, (30, 40, true));

    // A file that was never compared is not read.
    let bytes = lake.lake.s3.get_object().bucket(&lake.lake.bucket).key(&files[0]);
    let bytes = bytes
        .send()
        .await
        .unwrap()
        .body
        .collect()
        .await
        .unwrap()
        .into_bytes();
    let put = async |key: &str| {
        let put = lake.lake.s3.put_object().bucket(&lake.lake.bucket).key(key);
        put.body(bytes.clone().into()).send().await.unwrap();
    };
    let beside = format!("{}-again", files[0]);
    put(&beside).await;
    assert_eq!(counted(&lake).await, (30, 40, false));
    let delete = lake.lake.s3.delete_object().bucket(&lake.lake.bucket);
    delete.key(&beside).send().await.unwrap();
    assert_eq!(counted(&lake).await, (30, 40, true));

    // Once more: nothing is to be done, and nothing is done.
    assert_eq!(lake.compaction.compact(&day, 0).await.unwrap(), None);
    assert_eq!(keys(&lake, "history/").await, files);

    // What is put back later counts.
    lake.deliver(HOUR, lines[30..].to_vec()).await;
    assert_eq!(counted(&lake).await, (40, 50, false));
    // And what is deleted is missed, whatever Parquet says.
    for key in keys(&lake, "lake/dt=2026-01-02/").await {
        let delete = lake.lake.s3.delete_object().bucket(&lake.lake.bucket);
        delete.key(key).send().await.unwrap();
    }
    assert_eq!(counted(&lake).await, (0, 0, false));
    assert_eq!(lake.compaction.compact(&day, 0).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_make_one_answer() {
    let (lake, _alive) = open_compacted().await;
    fill(&lake).await;
    let day = LakeDay::of(HOUR.day());
    assert_eq!(lake.compaction.compact(&day, 0).await.unwrap(), Some(40));
    // Of the evening before there are objects alone.
    let mut clicks = ClickMaker::new(2, 5, HOUR.start_ms(), 1.0);
    let early: Vec<Vec<u8>> = (0..7).map(|_| clicks.record().to_line().unwrap()).collect();
    lake.deliver(Hour(HOUR.0 - 2), early).await;
    assert_eq!(counted(&lake).await, (37, 47, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_compaction_left_that_ended_half_way_is_deleted_a_day_later() {
    let (lake, _alive) = open_compacted().await;
    fill(&lake).await;
    let day = LakeDay::of(HOUR.day());
    // Hidden by its name, for the emulator reads all else that lies under the table, whatever its partitions say.
    let left = "history/dt=2026-01-02/run=0000000000000000/_part-0";
    let put = lake.lake.s3.put_object().bucket(&lake.lake.bucket).key(left);
    put.body(b"half a file".to_vec().into()).send().await.unwrap();
    let written = lake
        .lake
        .s3
        .head_object()
        .bucket(&lake.lake.bucket)
        .key(left)
        .send()
        .await
        .unwrap();
    let written_ms = written.last_modified().unwrap().to_millis().unwrap();
    assert_eq!(
        lake.compaction
            .compact(&day, written_ms + DAY_MS + 2_000)
            .await
            .unwrap(),
        Some(40)
    );
    assert_eq!(keys(&lake, "history/").await.len(), 1);
    assert!(!keys(&lake, "history/").await.contains(&left.to_owned()));
}

mod compacted {
    use super::{Alive, CompactedLake, open_compacted};

    async fn open() -> (CompactedLake, Alive) {
        open_compacted().await
    }

    clickledger_testkit::lake_reader_contract!(open);
}

/// What puts heartbeats, and what reads them.
struct Halves(Beats, Shards);

#[async_trait]
impl Heartbeats for Halves {
    async fn beat(&self, shard: &ShardId, line: Vec<u8>) -> PortResult<SequenceNumber> {
        self.0.beat(shard, line).await
    }
}

#[async_trait]
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

async fn open_beats() -> (Halves, Alive) {
    let account = Account::new();
    account.stream(3).await;
    let beats = account.aws.beats(Patience::UNHURRIED).unwrap();
    let shards = account.aws.shards(Patience::UNHURRIED).unwrap();
    (Halves(beats, shards), account.emulator)
}

clickledger_testkit::manifests_contract!(open_hours);
clickledger_testkit::sealed_counts_contract!(open_counts);
clickledger_testkit::leases_contract!(open_hours);
clickledger_testkit::rulings_contract!(open_hours);
clickledger_testkit::seal_reports_contract!(open_hours);
clickledger_testkit::seal_store_contract!(open_hours);
clickledger_testkit::heartbeat_log_contract!(open_hours);
clickledger_testkit::heartbeats_contract!(open_beats);
clickledger_testkit::lake_reader_contract!(open_lake);
