//! The AWS adapters of sealing under the suites that every adapter passes, against a local emulator; as tests/contract.rs.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/src/emulator.rs"]
#[allow(unreachable_pub)] // it is a library's module elsewhere
mod emulator;
#[allow(unreachable_pub, dead_code)] // not every suite uses all of it
mod resources;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use clickledger_aws::{AthenaLake, Beats, Hours, Patience, Resource, SealedItems, Shards};
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{
    Heartbeats, LakeReader, PortResult, Position, Shard, ShardReader, StreamRecord,
};
use clickledger_testkit::contract::lake_reader::LakeUnderTest;
use emulator::Emulator;
use resources::Account;

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
