//! The AWS adapters under the suites that every adapter passes, against a local emulator.
//!
//! Each test has an account of its own (the emulator takes a 12-digit access key for its number) and makes only the
//! resources that it needs, as `docs/DATA_MODEL.md` defines them.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/src/emulator.rs"]
#[allow(unreachable_pub)] // it is a library's module elsewhere
mod emulator;
#[allow(unreachable_pub, dead_code)] // not every suite uses all of it
mod resources;

use std::sync::Arc;

use clickledger_aws::{
    Buckets, Catalog, CatalogOptions, Claims, Hours, Keys, Lanes, Patience, SpillQueue, Stream,
    TokenKeysOptions, TokenSecret,
};
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{
    ClickStream, Outgoing, PortResult, Position, Shard, ShardReader, StreamRecord,
};
use clickledger_testkit::contract::gauges::Gauged;
use emulator::Emulator;
use resources::Account;

type Alive = Arc<Emulator>;

async fn open_claims() -> (Claims, Alive) {
    let account = Account::new();
    account.claims().await;
    (
        account.aws.claims(Patience::UNHURRIED).await.unwrap(),
        account.emulator,
    )
}

async fn open_buckets() -> (Buckets, Alive) {
    let account = Account::new();
    account.buckets().await;
    (
        account.aws.buckets(Patience::UNHURRIED).unwrap(),
        account.emulator,
    )
}

async fn open_lanes() -> (Lanes, Alive) {
    let account = Account::new();
    account.lanes().await;
    (account.aws.lanes(Patience::UNHURRIED).unwrap(), account.emulator)
}

async fn open_hours() -> (Hours, Alive) {
    let account = Account::new();
    account.hours().await;
    (account.aws.hours(Patience::UNHURRIED).unwrap(), account.emulator)
}

/// Where nobody is in a hurry: the emulator on a busy machine is slower than a click may be.
fn unhurried() -> CatalogOptions {
    CatalogOptions::unhurried(Patience::UNHURRIED)
}

async fn open_catalog() -> (Catalog, Alive) {
    let account = Account::new();
    account.ads().await;
    account.placements().await;
    (account.aws.catalog(None, unhurried()).unwrap(), account.emulator)
}

/// A snapshot that was loaded before anything was stored.
async fn open_catalog_with_snapshot() -> (Catalog, Alive) {
    let account = Account::new();
    account.ads().await;
    account.placements().await;
    account.bucket().await;
    let writer = account.aws.snapshot_writer(Patience::UNHURRIED).unwrap();
    assert_eq!(writer.write().await.unwrap(), 0);
    let snapshot = account.aws.snapshot(Patience::UNHURRIED).unwrap();
    assert_eq!(snapshot.load().await.unwrap(), Some(0));
    let catalog = account.aws.catalog(Some(snapshot), unhurried());
    (catalog.unwrap(), account.emulator)
}

async fn open_keys() -> (Keys, Alive) {
    let account = Account::new();
    account.keys().await;
    (account.aws.keys(Patience::UNHURRIED).unwrap(), account.emulator)
}

/// A new key signs at once, as the suite wants it.
fn at_once() -> TokenKeysOptions {
    TokenKeysOptions {
        signs_after_ms: 0,
        ..TokenKeysOptions::default()
    }
}

async fn open_token_keys() -> (TokenSecret, Alive) {
    let account = Account::new();
    (account.aws.token_keys(at_once()).unwrap(), account.emulator)
}

/// As the template makes the secret: with a seed.
async fn open_seeded_token_keys() -> (TokenSecret, Alive) {
    let account = Account::new();
    account.seeded_secret().await;
    (account.aws.token_keys(at_once()).unwrap(), account.emulator)
}

async fn open_spill() -> (SpillQueue, Alive) {
    let account = Account::with_queue().await;
    (account.aws.spill(Patience::UNHURRIED).unwrap(), account.emulator)
}

/// Both halves in one, as the suite wants them.
struct Halves(Stream, clickledger_aws::Shards);

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

async fn open_stream() -> (Halves, Alive) {
    let account = Account::new();
    account.stream(3).await;
    let stream = account.aws.stream(Patience::UNHURRIED).await.unwrap();
    let shards = account.aws.shards(Patience::UNHURRIED).unwrap();
    (Halves(stream, shards), account.emulator)
}

async fn open_gauges() -> (Gauged, Alive) {
    let account = Account::with_queue().await;
    account.bucket().await;
    let gauged = Gauged {
        spill: Arc::new(account.aws.spill(Patience::UNHURRIED).unwrap()),
        quarantine: Arc::new(account.aws.quarantine(Patience::UNHURRIED).unwrap()),
        gauges: Arc::new(account.aws.gauges(Patience::UNHURRIED).unwrap()),
    };
    (gauged, account.emulator)
}

clickledger_testkit::gauges_contract!(open_gauges);
clickledger_testkit::claim_store_contract!(open_claims);
clickledger_testkit::click_stream_contract!(open_stream);
clickledger_testkit::bucket_store_contract!(open_buckets);
clickledger_testkit::lane_log_contract!(open_lanes);
clickledger_testkit::ad_catalog_contract!(open_catalog);
clickledger_testkit::api_keys_contract!(open_keys);
clickledger_testkit::token_keys_contract!(open_token_keys);
clickledger_testkit::seal_store_contract!(open_hours);
clickledger_testkit::spill_contract!(open_spill);

mod behind_a_snapshot {
    use super::*;

    clickledger_testkit::ad_catalog_contract!(open_catalog_with_snapshot);
}

mod seeded {
    use super::*;

    clickledger_testkit::token_keys_contract!(open_seeded_token_keys);
}
