//! What is the embedded store's own: durability, the writer's groups, reshards, and the files beside the database.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Committed, Condition, PartialWrite};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::{AdId, AdvertiserId, ClickId, ImpressionId, PlacementId};
use clickledger_core::domain::lane::LaneItem;
use clickledger_core::domain::manifest::Manifest;
use clickledger_core::domain::sealed::{SealedDay, SealedHour};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{Day, HOUR_MS, Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{
    ApiKeys, BucketStore, Claim, ClaimStore, Claimed, ClickStream, Clock, LaneLog, Manifests, Outgoing,
    PortError, Position, Quarantine, Quarantined, RawLake, SealStore, SealedCounts, ShardReader, Spill,
    StreamRecord, TokenKeys,
};
use clickledger_embedded::{CommitGate, Embedded, OpenError, OpenOptions};

/// 2026-01-02T00:00:00Z.
const NOW_MS: i64 = 1_767_312_000_000;

fn open(dir: &Path, shards: u32) -> Embedded {
    Embedded::open(
        dir,
        OpenOptions {
            shards,
            ..OpenOptions::default()
        },
    )
    .unwrap()
}

fn claim(impression: u8, click: u8) -> Claim {
    Claim {
        impression_id: ImpressionId::new(NOW_MS, [impression; 10]),
        click_id: ClickId::new(NOW_MS, [click; 10]),
        expires_ms: NOW_MS + 1_000,
    }
}

fn record(key: &str, text: &str) -> Outgoing {
    Outgoing {
        partition_key: key.to_owned(),
        data: text.as_bytes().to_vec(),
    }
}

async fn publish(store: &Embedded, records: Vec<Outgoing>) {
    for outcome in store.stream().publish(records).await {
        outcome.unwrap();
    }
}

async fn texts(store: &Embedded) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for shard in store.stream().shards().await.unwrap() {
        let records = store.stream().read(&shard.id, None, 1_000).await.unwrap();
        let texts = records
            .into_iter()
            .map(|record| String::from_utf8(record.data).unwrap())
            .collect();
        all.push((shard.id.to_string(), texts));
    }
    all
}

fn total(first: u64, last: u64, count: u64) -> PartialWrite {
    let counter = CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ);
    PartialWrite {
        key: BucketKey {
            entity: Entity::Total,
            minute: Minute::of(NOW_MS),
        },
        shard: "shardId-000000000000".into(),
        condition: Condition::Below(first.into()),
        last: last.into(),
        delta: [(counter, count)].into_iter().collect(),
    }
}

async fn total_clicks(store: &Embedded) -> u64 {
    let minute = Minute::of(NOW_MS);
    let totals = store
        .buckets()
        .read_totals(Entity::Total, minute, Minute(minute.0 + 1))
        .await
        .unwrap();
    totals.iter().map(|minute| minute.valid).sum()
}

/// Polls once.
fn is_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
    matches!(
        future.poll(&mut Context::from_waker(Waker::noop())),
        Poll::Pending
    )
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    let shard = store.stream().shards().await.unwrap()[0].id.clone();
    assert_eq!(
        store.claims().claim(claim(1, 1), NOW_MS).await.unwrap(),
        Claimed::First
    );
    publish(&store, vec![record("a", "one"), record("b", "two")]).await;
    assert_eq!(
        store.buckets().commit(vec![total(1, 2, 2)]).await[0]
            .as_ref()
            .unwrap(),
        &Committed::Applied
    );
    let item = LaneItem {
        last: 2.into(),
        first_arrival_ms: NOW_MS,
        last_arrival_ms: NOW_MS,
        ids: vec![ClickId(7)],
        late_ids: vec![],
    };
    store.lanes().append(&shard, item.clone()).await.unwrap();
    let done = Position {
        done: Some(SequenceNumber::from(2)),
        ended: false,
    };
    store.stream().advance("aggregate", &shard, done).await.unwrap();
    store.seals().mark_dirty(&[Hour::of(NOW_MS)]).await.unwrap();
    store.spill().keep(record("c", "three")).await.unwrap();
    let keys = store.token_keys().load().await.unwrap();
    store.close().await;

    let store = open(dir.path(), 1);
    let duplicate = store.claims().claim(claim(1, 2), NOW_MS).await.unwrap();
    assert_eq!(duplicate, Claimed::DuplicateOf(claim(1, 1).click_id));
    assert_eq!(texts(&store).await[0].1, ["one", "two"]);
    assert_eq!(
        store.buckets().commit(vec![total(1, 2, 2)]).await[0]
            .as_ref()
            .unwrap(),
        &Committed::Stale(Some(2.into()))
    );
    assert_eq!(total_clicks(&store).await, 2);
    assert_eq!(store.lanes().read(&shard, None, 0).await.unwrap(), [item]);
    assert_eq!(store.stream().position("aggregate", &shard).await.unwrap(), done);
    assert_eq!(
        store
            .seals()
            .dirty(Hour::of(NOW_MS), Hour(i64::MAX))
            .await
            .unwrap(),
        [Hour::of(NOW_MS)]
    );
    assert_eq!(
        store.spill().receive(10, NOW_MS, 1).await.unwrap()[0].record,
        record("c", "three")
    );
    assert!(store.token_keys().load().await.unwrap() == keys);
    // Numbers go on above those that were given out.
    publish(&store, vec![record("a", "four")]).await;
    let after = store.stream().read(&shard, done.done, 10).await.unwrap();
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].data, b"four");
}

#[tokio::test]
async fn nobody_is_answered_before_the_commit() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), CommitGate::default());
    let store = Embedded::open(
        dir.path(),
        OpenOptions {
            gate: gate.clone(),
            ..OpenOptions::default()
        },
    )
    .unwrap();
    let (claims, stream) = (store.claims(), store.stream());
    gate.hold();
    let (mut claimed, mut published) = (
        pin!(claims.claim(claim(1, 1), NOW_MS)),
        pin!(stream.publish(vec![record("a", "one")])),
    );
    // Polled for as long as a commit would take many times over: an answer at any time fails.
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        assert!(is_pending(claimed.as_mut()) && is_pending(published.as_mut()));
        assert!(
            texts(&store).await.iter().all(|(_, texts)| texts.is_empty()),
            "readers see committed records only"
        );
    }
    gate.open();
    assert_eq!(claimed.await.unwrap(), Claimed::First);
    published.await[0].as_ref().unwrap();
}

#[tokio::test]
async fn refused_group_leaves_nothing_and_the_next_one_goes_through() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), CommitGate::default());
    let store = Embedded::open(
        dir.path(),
        OpenOptions {
            gate: gate.clone(),
            ..OpenOptions::default()
        },
    )
    .unwrap();
    gate.refuse(PortError::unavailable("disk full"));
    let claimed = store.claims().claim(claim(1, 1), NOW_MS).await;
    assert!(matches!(claimed, Err(PortError::Unavailable(_))), "{claimed:?}");
    let published = store
        .stream()
        .publish(vec![record("a", "one"), record("b", "two")])
        .await;
    assert!(
        published
            .iter()
            .all(|outcome| matches!(outcome, Err(PortError::Unavailable(_))))
    );
    assert!(store.buckets().commit(vec![total(1, 2, 5)]).await[0].is_err());
    assert_eq!(total_clicks(&store).await, 0);
    gate.open();
    assert_eq!(
        store.claims().claim(claim(1, 2), NOW_MS).await.unwrap(),
        Claimed::First,
        "the first try left no claim"
    );
    publish(&store, vec![record("a", "three")]).await;
    assert_eq!(
        store.buckets().commit(vec![total(1, 2, 3)]).await[0]
            .as_ref()
            .unwrap(),
        &Committed::Applied
    );
    assert_eq!(total_clicks(&store).await, 3);
    let published: Vec<String> = texts(&store)
        .await
        .into_iter()
        .flat_map(|(_, texts)| texts)
        .collect();
    assert_eq!(published, ["three"]);
}

#[tokio::test]
async fn full_queue_refuses_at_once() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), CommitGate::default());
    let options = OpenOptions {
        gate: gate.clone(),
        queue: 8,
        ..OpenOptions::default()
    };
    let store = Embedded::open(dir.path(), options).unwrap();
    gate.hold();
    let stream = store.stream();
    // The writer holds one group (of at most 8); at most 8 more wait.
    let mut waiting: Vec<_> = (0..40)
        .map(|n| Box::pin(stream.publish(vec![record("a", &n.to_string())])))
        .collect();
    let mut refused = 0;
    waiting.retain_mut(|publishing| {
        match publishing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => true,
            Poll::Ready(outcomes) => {
                assert!(matches!(outcomes[0], Err(PortError::Unavailable(_))));
                refused += 1;
                false
            }
        }
    });
    assert!(refused >= 24, "{refused} refused");
    gate.open();
    for publishing in waiting {
        publishing.await[0].as_ref().unwrap();
    }
}

#[tokio::test]
async fn write_whose_caller_went_away_is_still_made() {
    let (dir, gate) = (tempfile::tempdir().unwrap(), CommitGate::default());
    let store = Embedded::open(
        dir.path(),
        OpenOptions {
            gate: gate.clone(),
            ..OpenOptions::default()
        },
    )
    .unwrap();
    gate.hold();
    let stream = store.stream();
    {
        let mut publishing = pin!(stream.publish(vec![record("a", "one")]));
        assert!(is_pending(publishing.as_mut()));
    }
    gate.open();
    publish(&store, vec![record("a", "two")]).await;
    let all: Vec<String> = texts(&store)
        .await
        .into_iter()
        .flat_map(|(_, texts)| texts)
        .collect();
    assert_eq!(all, ["one", "two"]);
}

#[tokio::test]
async fn published_records_are_announced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 2);
    let mut published = store.published();
    let before = *published.borrow_and_update();
    publish(&store, vec![record("a", "one"), record("message digest", "two")]).await;
    published.changed().await.unwrap();
    assert_eq!(*published.borrow_and_update(), before + 2);
}

#[tokio::test]
async fn folder_opens_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    let claims = store.claims();
    let again = Embedded::open(dir.path(), OpenOptions::default()).err().unwrap();
    assert!(matches!(again, OpenError::InUse { .. }), "{again}");
    assert!(
        again
            .to_string()
            .contains("in use by another clickledger process")
    );
    store.close().await;
    let closed = claims.claim(claim(1, 1), NOW_MS).await;
    assert!(
        matches!(closed, Err(PortError::Unavailable(_))),
        "a handle that is left answers"
    );
    drop(open(dir.path(), 1));
    drop(open(dir.path(), 1));
}

#[cfg(unix)]
#[tokio::test]
async fn new_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("deep/data");
    open(&data, 1).close().await;
    assert_eq!(
        std::fs::metadata(&data).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[tokio::test]
async fn folder_of_another_version_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), 1).close().await;
    let conn = rusqlite::Connection::open(dir.path().join("clickledger.db")).unwrap();
    conn.execute("UPDATE meta SET value = 99 WHERE key = 'schema_version'", [])
        .unwrap();
    drop(conn);
    let error = Embedded::open(dir.path(), OpenOptions::default()).err().unwrap();
    assert!(
        matches!(
            error,
            OpenError::OtherSchema {
                found: 99,
                expected: 5,
                ..
            }
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("version 99") && text.contains("version 5") && text.contains("choose another"),
        "{text}"
    );
}

/// What versions 3 to 5 added, taken away again: the other tables are version 2's.
const BACK_TO_VERSION_2: &str = "
    DROP TABLE sessions;
    DROP TABLE manifests; DROP TABLE day_manifests; DROP TABLE leases; DROP TABLE sealed_hours; DROP TABLE sealed_days;
    DROP TABLE rulings; DROP TABLE corrections; DROP TABLE seal_reports;
    CREATE TABLE dirty_hours(hour INTEGER PRIMARY KEY);
    UPDATE meta SET value = 2 WHERE key = 'schema_version';";

#[tokio::test]
async fn folder_of_version_2_is_brought_to_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    publish(&store, vec![record("a", "one")]).await;
    store.buckets().commit(vec![total(1, 5, 3)]).await[0]
        .as_ref()
        .unwrap();
    let before = texts(&store).await;
    store.close().await;
    let hour = Hour::of(NOW_MS);
    let conn = rusqlite::Connection::open(dir.path().join("clickledger.db")).unwrap();
    conn.execute_batch(BACK_TO_VERSION_2).unwrap();
    for dirty in [hour.0, hour.0 + 30] {
        conn.execute("INSERT INTO dirty_hours VALUES (?1)", [dirty])
            .unwrap();
    }
    drop(conn);
    for _ in 0..2 {
        let store = open(dir.path(), 1);
        assert_eq!(texts(&store).await, before);
        assert_eq!(total_clicks(&store).await, 3);
        let dirty = store.seals().dirty(Hour(0), Hour(i64::MAX)).await.unwrap();
        assert_eq!(dirty, [hour, Hour(hour.0 + 30)]);
        let manifests = store.seals().hours(hour, Hour(hour.0 + 1)).await.unwrap();
        assert_eq!(
            manifests,
            [Manifest {
                marks: 1,
                ..Manifest::open(hour)
            }]
        );
        store.close().await;
    }
    let conn = rusqlite::Connection::open(dir.path().join("clickledger.db")).unwrap();
    let left: i64 = conn
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'dirty_hours'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn folder_of_version_3_is_brought_to_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    let hour = Hour::of(NOW_MS);
    store.seals().mark_dirty(&[hour]).await.unwrap();
    store.close().await;
    let file = dir.path().join("clickledger.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.execute_batch(BACK_TO_VERSION_4).unwrap();
    conn.execute_batch("DROP TABLE sessions; UPDATE meta SET value = 3 WHERE key = 'schema_version'")
        .unwrap();
    drop(conn);
    for _ in 0..2 {
        let store = open(dir.path(), 1);
        let dirty = store.seals().dirty(Hour(0), Hour(i64::MAX)).await.unwrap();
        assert_eq!(dirty, [hour]);
        let session_id = "AAAAAAAAAAAA".parse().unwrap();
        assert_eq!(store.keys().session(&session_id).await.unwrap(), None);
        store.close().await;
    }
}

/// Sealed counts as version 4 had them: without pairs.
const BACK_TO_VERSION_4: &str = "
    CREATE TABLE hours_4(
        kind INTEGER NOT NULL, id INTEGER NOT NULL, hour INTEGER NOT NULL, version INTEGER NOT NULL,
        totals BLOB NOT NULL, cells BLOB NOT NULL, PRIMARY KEY(kind, id, hour, version)) WITHOUT ROWID;
    CREATE TABLE days_4(
        kind INTEGER NOT NULL, id INTEGER NOT NULL, day INTEGER NOT NULL, version INTEGER NOT NULL,
        totals BLOB NOT NULL, cells BLOB NOT NULL, PRIMARY KEY(kind, id, day, version)) WITHOUT ROWID;
    INSERT INTO hours_4 SELECT kind, id, hour, version, totals, cells FROM sealed_hours WHERE other = 0;
    INSERT INTO days_4 SELECT kind, id, day, version, totals, cells FROM sealed_days WHERE other = 0;
    DROP TABLE sealed_hours; DROP TABLE sealed_days;
    ALTER TABLE hours_4 RENAME TO sealed_hours;
    ALTER TABLE days_4 RENAME TO sealed_days;
    CREATE INDEX sealed_hours_by_version ON sealed_hours(hour, version, kind, id);
    CREATE INDEX sealed_days_by_version ON sealed_days(day, version, kind, id);
    UPDATE meta SET value = 4 WHERE key = 'schema_version';";

#[tokio::test]
async fn folder_of_version_4_is_brought_to_this_one_with_all_that_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    let (hour, next) = (Hour::of(NOW_MS), Hour(Hour::of(NOW_MS).0 + 1));
    let (day, next_day) = (hour.day(), Day(hour.day().0 + 1));
    let counters: Counters = [(CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ), 7)]
        .into_iter()
        .collect();
    let entities = [
        Entity::Ad(AdId(7)),
        Entity::Advertiser(AdvertiserId(9)),
        Entity::Placement(PlacementId(5)),
        Entity::Total,
    ];
    let pair = Entity::AdvertiserPlacement(AdvertiserId(9), PlacementId(5));
    let sealed_hour = |entity, version| SealedHour {
        entity,
        hour,
        version,
        minutes: vec![(3, counters.clone())],
    };
    let sealed_day = |entity| SealedDay::of_hours(entity, day, 6, &[sealed_hour(entity, 1)]).unwrap();
    for version in [1, 2] {
        let items = entities.map(|entity| sealed_hour(entity, version)).to_vec();
        store.seals().write_hours(hour, version, 0, items).await.unwrap();
    }
    let days = entities.map(sealed_day).to_vec();
    store.seals().write_days(days).await.unwrap();
    store.close().await;
    let conn = rusqlite::Connection::open(dir.path().join("clickledger.db")).unwrap();
    conn.execute_batch(BACK_TO_VERSION_4).unwrap();
    drop(conn);
    for round in 0..2 {
        let store = open(dir.path(), 1);
        let seals = store.seals();
        for entity in entities {
            let found = seals.read_hours(entity, hour, next).await.unwrap();
            assert_eq!(found, [1, 2].map(|version| sealed_hour(entity, version)));
            assert_eq!(
                seals.read_days(entity, day, next_day).await.unwrap(),
                [sealed_day(entity)]
            );
        }
        assert_eq!(seals.entities(hour, 2, None, 10).await.unwrap(), entities);
        // Sealed anew, it has pairs too.
        let pairs = seals.read_hours(pair, hour, next).await.unwrap();
        assert_eq!(pairs.len(), round);
        seals
            .write_hours(hour, 3, 0, vec![sealed_hour(pair, 3)])
            .await
            .unwrap();
        store.close().await;
    }
    let conn = rusqlite::Connection::open(dir.path().join("clickledger.db")).unwrap();
    let left: i64 = conn
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%\\_4' ESCAPE '\\'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
}

/// A crash in the middle of bringing a folder forward leaves it as it was.
#[tokio::test]
async fn folder_that_cannot_be_brought_forward_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), 1).close().await;
    let file = dir.path().join("clickledger.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.execute_batch(BACK_TO_VERSION_2).unwrap();
    conn.execute_batch("CREATE TABLE seal_reports(foreign_to_us INTEGER)")
        .unwrap();
    let error = Embedded::open(dir.path(), OpenOptions::default()).err().unwrap();
    assert!(matches!(error, OpenError::Database(_)), "{error}");
    let version: i64 = conn
        .query_row("SELECT value FROM meta WHERE key = 'schema_version'", [], |row| {
            row.get(0)
        })
        .unwrap();
    let manifests: i64 = conn
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('manifests', 'leases')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!((version, manifests), (2, 0));
}

#[test]
fn folder_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let conn = rusqlite::Connection::open(dir.path().join("clickledger.db")).unwrap();
    conn.execute("CREATE TABLE recipes(name TEXT)", []).unwrap();
    drop(conn);
    let error = Embedded::open(dir.path(), OpenOptions::default()).err().unwrap();
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
    let dir = tempfile::tempdir().unwrap();
    for asked in [0, OpenOptions::MAX_SHARDS + 1] {
        let error = Embedded::open(
            dir.path(),
            OpenOptions {
                shards: asked,
                ..OpenOptions::default()
            },
        )
        .err()
        .unwrap();
        assert!(matches!(error, OpenError::Shards { .. }), "{error}");
    }
}

/// Says the time that it is told.
struct Told(AtomicI64);

#[async_trait]
impl Clock for Told {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn sleep(&self, _: u64) {}
}

#[tokio::test]
async fn changed_shard_count_closes_the_old_shards_and_names_them_parents() {
    let (dir, clock) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Told(AtomicI64::new(NOW_MS))),
    );
    let open = |shards| {
        let options = OpenOptions {
            shards,
            clock: clock.clone(),
            ..OpenOptions::default()
        };
        Embedded::open(dir.path(), options).unwrap()
    };
    let store = open(1);
    publish(&store, vec![record("a", "one"), record("b", "two")]).await;
    store.close().await;
    // Two reshards in a row: the shards between hold nothing, and still lead to their parent.
    open(3).close().await;
    let store = open(2);
    publish(&store, vec![record("a", "three")]).await;
    let shards = store.stream().shards().await.unwrap();
    let names = |ids: &[std::sync::Arc<str>]| {
        ids.iter()
            .map(|id| id[18..].to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let listed: Vec<(String, String, bool)> = shards
        .iter()
        .map(|s| (s.id[18..].to_owned(), names(&s.parents), s.closed))
        .collect();
    let shard = |id: &str, parents: &str, closed| (id.to_owned(), parents.to_owned(), closed);
    assert_eq!(
        listed,
        [
            shard("00", "", true),
            shard("01", "00", true),
            shard("02", "00", true),
            shard("03", "00", true),
            shard("04", "01 02 03", false),
            shard("05", "01 02 03", false),
        ]
    );
    assert_eq!(texts(&store).await[0].1, ["one", "two"]);
    let old = store.stream().read(&shards[0].id, None, 10).await.unwrap();
    let new = store.stream().read(&shards[4].id, None, 10).await.unwrap();
    assert_eq!(new[0].data, b"three");
    assert!(new[0].sequence_number > old[1].sequence_number);

    // Retention forgets a closed shard that is read to its end, and then its children, as their parents go.
    let done = Position {
        done: Some(old[1].sequence_number),
        ended: true,
    };
    store
        .stream()
        .advance("aggregate", &shards[0].id, done)
        .await
        .unwrap();
    assert_eq!(
        store.stream().trim(&["aggregate"], NOW_MS + 1, 1).await.unwrap(),
        1,
        "no more than asked for"
    );
    assert_eq!(store.stream().shards().await.unwrap().len(), 6);
    assert_eq!(
        store.stream().trim(&["aggregate"], NOW_MS + 1, 10).await.unwrap(),
        1
    );
    let left = store.stream().shards().await.unwrap();
    assert_eq!(left[0].id, shards[1].id);
    assert_eq!(left[0].parents, []);
    store.stream().trim(&["aggregate"], NOW_MS + 1, 10).await.unwrap();
    let left = store.stream().shards().await.unwrap();
    assert_eq!(
        left.iter().map(|shard| &shard.id).collect::<Vec<_>>(),
        [&shards[4].id, &shards[5].id]
    );
    store.close().await;

    // What was trimmed leaves no number to be used again.
    let store = open(1);
    publish(&store, vec![record("a", "four")]).await;
    let newest = store.stream().shards().await.unwrap().pop().unwrap();
    assert_eq!(&newest.id[18..], "06");
    let four = store.stream().read(&newest.id, None, 10).await.unwrap();
    assert!(four[0].sequence_number > new[0].sequence_number);
}

#[tokio::test]
async fn trimming_everything_leaves_no_number_to_be_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    publish(&store, vec![record("a", "1"), record("a", "2"), record("a", "3")]).await;
    let shard = store.stream().shards().await.unwrap()[0].id.clone();
    let all = store.stream().read(&shard, None, 10).await.unwrap();
    assert_eq!(
        store.stream().trim(&[], i64::MAX, 2).await.unwrap(),
        2,
        "a stored group is cut where the limit says"
    );
    assert_eq!(store.stream().read(&shard, None, 10).await.unwrap(), all[2..]);
    assert_eq!(store.stream().trim(&[], i64::MAX, 10).await.unwrap(), 1);
    store.close().await;
    let store = open(dir.path(), 1);
    publish(&store, vec![record("a", "4")]).await;
    let four = store.stream().read(&shard, None, 10).await.unwrap();
    assert!(four[0].sequence_number > all[2].sequence_number);
}

#[tokio::test]
async fn too_large_a_record_is_rejected_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    let large = Outgoing {
        partition_key: "a".to_owned(),
        data: vec![b'x'; 1 << 20],
    };
    let no_key = record("", "x");
    let outcomes = store
        .stream()
        .publish(vec![record("a", "one"), large, no_key, record("a", "two")])
        .await;
    let rejected: Vec<bool> = outcomes
        .iter()
        .map(|o| matches!(o, Err(PortError::Rejected(_))))
        .collect();
    assert_eq!(rejected, [false, true, true, false]);
    assert_eq!(texts(&store).await[0].1, ["one", "two"]);
}

#[tokio::test]
async fn purging_says_how_many_and_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    for n in 0..10 {
        store.claims().claim(claim(n, n), NOW_MS).await.unwrap();
    }
    let claims = store.claims();
    assert_eq!(
        claims.purge(NOW_MS + 1_000, 100).await.unwrap(),
        0,
        "none has expired"
    );
    assert_eq!(claims.purge(NOW_MS + 1_001, 4).await.unwrap(), 4);
    assert_eq!(claims.purge(NOW_MS + 1_001, 4).await.unwrap(), 4);
    assert_eq!(claims.purge(NOW_MS + 1_001, 4).await.unwrap(), 2);
    assert_eq!(claims.purge(NOW_MS + 1_001, 4).await.unwrap(), 0);
    // From the beginning again: a claim below where it stopped is found.
    store.claims().claim(claim(0, 0), NOW_MS).await.unwrap();
    assert_eq!(claims.purge(NOW_MS + 1_001, 4).await.unwrap(), 1);
}

/// More of everything than one commit group forgets; partials are nobody's to forget.
#[tokio::test]
async fn all_that_is_old_is_forgotten_in_pieces_and_partials_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    let shard = store.stream().shards().await.unwrap()[0].id.clone();
    let writes = vec![total(1, 5, 7)];
    store.buckets().commit(writes).await[0].as_ref().unwrap();
    for n in 1..=120_u64 {
        // A commit, and so a segment, of its own each.
        publish(&store, vec![record("a", "x"), record("a", "y")]).await;
        let item = LaneItem {
            last: n.into(),
            first_arrival_ms: NOW_MS,
            last_arrival_ms: NOW_MS + n.cast_signed(),
            ids: Vec::new(),
            late_ids: Vec::new(),
        };
        store.lanes().append(&shard, item).await.unwrap();
    }
    let claims = store.claims();
    let claimed: Vec<_> = (0..600_u64)
        .map(|n| {
            let claim = Claim {
                impression_id: ImpressionId::new(NOW_MS + n.cast_signed(), [1; 10]),
                ..claim(1, 1)
            };
            claims.claim(claim, NOW_MS)
        })
        .collect();
    for claimed in claimed {
        assert_eq!(claimed.await.unwrap(), Claimed::First);
    }
    let stream = store.stream();
    let position = |done: u64| Position {
        done: Some(done.into()),
        ended: false,
    };
    stream.advance("one", &shard, position(240)).await.unwrap();
    stream.advance("two", &shard, position(201)).await.unwrap();
    let consumers = ["one", "two"];
    assert_eq!(stream.trim(&consumers, i64::MAX, 130).await.unwrap(), 130);
    assert_eq!(
        stream.trim(&consumers, i64::MAX, 1_000).await.unwrap(),
        71,
        "no further than the slower consumer"
    );
    assert_eq!(stream.read(&shard, None, 1_000).await.unwrap().len(), 39);
    let lanes = store.lanes();
    let expired = lanes.expire(&shard, 115_u64.into(), NOW_MS + 111).await;
    assert_eq!(expired.unwrap(), 110, "neither behind the position nor younger");
    assert_eq!(lanes.read(&shard, None, 0).await.unwrap().len(), 10);
    assert_eq!(claims.purge(NOW_MS + 1_001, 590).await.unwrap(), 590);
    assert_eq!(claims.purge(NOW_MS + 1_001, 590).await.unwrap(), 10);
    assert_eq!(total_clicks(&store).await, 7);
    store.close().await;
    assert_eq!(total_clicks(&open(dir.path(), 1)).await, 7);
}

fn arrived(number: u64, arrived_at_ms: i64, text: &str) -> StreamRecord {
    StreamRecord {
        sequence_number: number.into(),
        arrived_at_ms,
        data: text.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn lake_keeps_whole_lines_under_the_hour_of_the_oldest_record() {
    let dir = tempfile::tempdir().unwrap();
    let (store, shard) = (open(dir.path(), 1), "shardId-000000000000".into());
    let lake = store.lake();
    let hour = NOW_MS + 5 * HOUR_MS;
    lake.append(
        &shard,
        &[arrived(2, hour + HOUR_MS, "two\n"), arrived(1, hour, "one\n")],
    )
    .await
    .unwrap();
    lake.append(&shard, &[arrived(3, hour + HOUR_MS, "three")])
        .await
        .unwrap();
    lake.append(&shard, &[]).await.unwrap();
    let file = |hour: &str| {
        dir.path().join(format!(
            "lake/dt=2026-01-02/hr={hour}/shardId-000000000000.ndjson"
        ))
    };
    assert_eq!(std::fs::read_to_string(file("05")).unwrap(), "two\none\n");
    assert_eq!(std::fs::read_to_string(file("06")).unwrap(), "three\n");
    store.close().await;
    // A crash in the middle of an append: the torn line stays alone.
    std::fs::write(file("06"), "three\n{\"torn").unwrap();
    let store = open(dir.path(), 1);
    store
        .lake()
        .append(&shard, &[arrived(4, hour + HOUR_MS, "four\n")])
        .await
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(file("06")).unwrap(),
        "three\n{\"torn\nfour\n"
    );
    let outside = store
        .lake()
        .append(&"../../outside".into(), &[arrived(4, hour, "x\n")])
        .await;
    assert!(matches!(outside, Err(PortError::Rejected(_))));
}

#[tokio::test]
async fn quarantine_keeps_bytes_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    for n in 0..2 {
        let item = Quarantined {
            shard: "shardId-000000000000".into(),
            sequence_number: SequenceNumber::from(7 + n),
            arrived_at_ms: NOW_MS,
            reason: "not JSON: \"line\n\"".to_owned(),
            bytes: vec![0, 255, b'\n'],
        };
        store.quarantine().keep(item).await.unwrap();
    }
    let kept = std::fs::read_to_string(dir.path().join("quarantine/dt=2026-01-02.ndjson")).unwrap();
    let lines: Vec<serde_json::Value> = kept
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["shard"], "shardId-000000000000");
    assert_eq!(lines[1]["sequence_number"], "8");
    assert_eq!(lines[1]["arrived_at_ms"], NOW_MS);
    assert_eq!(lines[1]["reason"], "not JSON: \"line\n\"");
    assert_eq!(lines[1]["bytes_base64"], "AP8K");
}

#[tokio::test]
async fn concurrent_claims_on_several_threads_name_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    let runtimes: Vec<_> = (0..4_u8)
        .map(|thread| {
            let claims = store.claims();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let claimed = |n| claims.claim(claim(n, 100 + thread), NOW_MS);
                runtime.block_on(async {
                    let mut owned = Vec::new();
                    for n in 0..50 {
                        if claimed(n).await.unwrap() == Claimed::First {
                            owned.push(n);
                        }
                    }
                    owned
                })
            })
        })
        .collect();
    let mut owned: Vec<u8> = runtimes
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    owned.sort_unstable();
    assert_eq!(owned, (0..50).collect::<Vec<u8>>());
}
