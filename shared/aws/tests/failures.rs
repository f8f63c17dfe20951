//! What the adapters make of refusals, lost answers and silence.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/src/emulator.rs"]
#[allow(unreachable_pub)] // it is a library's module elsewhere
mod emulator;
#[path = "../../../tests/src/fault_proxy.rs"]
#[allow(unreachable_pub, dead_code)] // not every suite uses all of it
mod fault_proxy;
#[allow(unreachable_pub, dead_code)]
mod resources;
#[path = "resources/stub.rs"]
#[allow(unreachable_pub)]
mod stub;

use std::time::{Duration, Instant};

use clickledger_aws::{Aws, CatalogOptions, Patience, Resource, SpillQueue};
use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::bucket::{Committed, Condition, PartialWrite};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ClickId, ImpressionId};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::Minute;
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{
    AdCatalog, BucketStore, Changed, Claim, ClaimStore, Claimed, ClickStream, Outgoing, PortError,
    PortResult, Quarantine, Quarantined, ShardReader, Spill,
};
use resources::{Account, Place};
use stub::{Reply, Stub};

const NOW_MS: i64 = 1_767_312_000_000;
const HURRIED: Patience = Patience {
    try_ms: 1_500,
    total_ms: 2_000,
    pause_ms: 5,
};

fn claim() -> Claim {
    Claim {
        impression_id: ImpressionId::new(NOW_MS, [1; 10]),
        click_id: ClickId::new(NOW_MS, [2; 10]),
        expires_ms: NOW_MS + 60_000,
    }
}

fn write() -> PartialWrite {
    let counter = CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ);
    PartialWrite {
        key: BucketKey {
            entity: Entity::Ad(AdId(7)),
            minute: Minute::of(NOW_MS),
        },
        shard: "shardId-000000000000".into(),
        condition: Condition::Below(SequenceNumber::from(10)),
        last: SequenceNumber::from(12),
        delta: Counters::from_iter([(counter, 3)]),
    }
}

fn ad() -> Ad {
    Ad {
        ad_id: AdId(731),
        campaign_id: CampaignId(12),
        advertiser_id: AdvertiserId(9),
        redirect_url: RedirectUrl::parse("https://shop.example/").unwrap(),
        title: None,
        image_url: None,
        status: AdStatus::Active,
        fan_out: 1,
        version: 1,
        created_ms: NOW_MS,
    }
}

fn record(text: &str) -> Outgoing {
    Outgoing {
        partition_key: "7#0".to_owned(),
        data: text.as_bytes().to_vec(),
    }
}

/// An account whose services are all this stub. No emulator is started.
fn at(stub: &Stub) -> Aws {
    let queue = format!("{}/1/spill", stub.url());
    Place::new(&stub.url()).named(Resource::SpillQueue, &queue).aws()
}

fn error(code: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws#{code}","message":"said the stub"}}"#)
}

fn kind<T>(outcome: &PortResult<T>) -> &'static str {
    match outcome {
        Ok(_) => "done",
        Err(PortError::Unavailable(_)) => "unavailable",
        Err(PortError::Ambiguous(_)) => "ambiguous",
        Err(PortError::Rejected(_)) => "rejected",
    }
}

/// By the lean client (claims, stream) and by the SDK's (buckets, spill) alike.
async fn kinds(aws: &Aws) -> [&'static str; 4] {
    let claims = aws.claims(HURRIED).await.unwrap();
    let stream = aws.stream(HURRIED).await.unwrap();
    let (buckets, spill) = (aws.buckets(HURRIED).unwrap(), aws.spill(HURRIED).unwrap());
    let (claimed, published, committed, spilled) = tokio::join!(
        claims.claim(claim(), NOW_MS),
        stream.publish(vec![record("x")]),
        buckets.commit(vec![write()]),
        spill.keep(record("x")),
    );
    [
        kind(&claimed),
        kind(&published[0]),
        kind(&committed[0]),
        kind(&spilled),
    ]
}

#[tokio::test]
async fn failures_are_told_apart_by_whether_it_may_have_been_done() {
    for (reply, expected) in [
        (Reply::Close, "ambiguous"),
        (Reply::Silence, "ambiguous"),
        (Reply::Answer(500, error("InternalServerError")), "ambiguous"),
        (Reply::Answer(200, "not JSON".to_owned()), "ambiguous"),
        (Reply::Answer(400, error("ThrottlingException")), "unavailable"),
        (
            Reply::Answer(400, error("ProvisionedThroughputExceededException")),
            "unavailable",
        ),
        (Reply::Answer(400, error("AccessDeniedException")), "unavailable"),
        (
            Reply::Answer(400, error("ResourceNotFoundException")),
            "unavailable",
        ),
        (Reply::Answer(503, String::new()), "unavailable"),
        (Reply::Answer(400, error("ValidationException")), "rejected"),
    ] {
        let stub = Stub::start([], reply.clone(), None);
        let started = Instant::now();
        let mut kinds = kinds(&at(&stub)).await;
        if matches!(reply, Reply::Answer(200, _)) {
            // Of a claim's success nothing has to be read.
            assert_eq!(kinds[0], "done");
            kinds[0] = expected;
        }
        assert_eq!(kinds, [expected; 4], "{reply:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{reply:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_connected_to_was_certainly_not_asked() {
    let stub = Stub::start([], Reply::Close, None);
    let aws = at(&stub);
    drop(stub);
    assert_eq!(kinds(&aws).await, ["unavailable"; 4]);
}

#[tokio::test]
async fn a_hiccup_is_not_noticed() {
    let throttled = || Reply::Answer(400, error("ThrottlingException"));
    let aws_of = |stub: &Stub| at(stub);
    let stub = Stub::start(
        [Reply::Close, throttled()],
        Reply::Answer(200, "{}".to_owned()),
        None,
    );
    let claims = aws_of(&stub).claims(HURRIED).await.unwrap();
    assert_eq!(claims.claim(claim(), NOW_MS).await.unwrap(), Claimed::First);
    assert_eq!(stub.asked().len(), 3);
    let stub = Stub::start([throttled()], Reply::Answer(200, "{}".to_owned()), None);
    let buckets = aws_of(&stub).buckets(HURRIED).unwrap();
    assert_eq!(
        *buckets.commit(vec![write()]).await[0].as_ref().unwrap(),
        Committed::Applied
    );
}

/// `PutRecords`'s answer with these error codes.
fn answered(codes: &[Option<&str>]) -> Reply {
    let record = |code: &Option<&str>| match code {
        None => r#"{"SequenceNumber":"1","ShardId":"shardId-000000000000"}"#.to_owned(),
        Some(code) => format!(r#"{{"ErrorCode":"{code}","ErrorMessage":"said the stub"}}"#),
    };
    let records: Vec<String> = codes.iter().map(record).collect();
    let failed = codes.iter().flatten().count();
    Reply::Answer(
        200,
        format!(
            r#"{{"FailedRecordCount":{failed},"Records":[{}]}}"#,
            records.join(",")
        ),
    )
}

const THROTTLED: Option<&str> = Some("ProvisionedThroughputExceededException");

#[tokio::test]
async fn only_the_failed_records_are_sent_again() {
    let stub = Stub::start(
        [
            answered(&[None, THROTTLED, None, Some("InternalFailure")]),
            answered(&[THROTTLED, None]),
        ],
        answered(&[None]),
        None,
    );
    let stream = at(&stub).stream(HURRIED).await.unwrap();
    let outcomes = stream.publish(["a", "b", "c", "d"].map(record).to_vec()).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let asked = stub.asked();
    assert_eq!(asked.len(), 3);
    // "a" is YQ== in base64, "b" Yg==, "c" Yw==, "d" ZA==.
    for (request, held) in [(0, "Yg=="), (1, "Yg=="), (1, "ZA=="), (2, "Yg==")] {
        assert!(asked[request].contains(held), "{request}: {}", asked[request]);
    }
    for (request, left_out) in [(1, "YQ=="), (1, "Yw=="), (2, "ZA==")] {
        assert!(
            !asked[request].contains(left_out),
            "{request}: {}",
            asked[request]
        );
    }
}

#[tokio::test]
async fn records_that_are_refused_to_the_end_say_whether_a_try_may_have_been_taken() {
    let stub = Stub::start([answered(&[None, THROTTLED])], answered(&[THROTTLED]), None);
    let stream = at(&stub).stream(HURRIED).await.unwrap();
    let outcomes = stream.publish(["a", "b"].map(record).to_vec()).await;
    assert_eq!([kind(&outcomes[0]), kind(&outcomes[1])], ["done", "unavailable"]);

    let stub = Stub::start([Reply::Close], answered(&[THROTTLED]), None);
    let stream = at(&stub).stream(HURRIED).await.unwrap();
    assert_eq!(kind(&stream.publish(vec![record("a")]).await[0]), "ambiguous");
    assert!(stub.asked().len() > 1);
}

#[tokio::test]
async fn a_record_that_kinesis_never_takes_does_not_hold_up_the_others() {
    let stub = Stub::start([], answered(&[None, None]), None);
    let stream = at(&stub).stream(HURRIED).await.unwrap();
    let outcomes = stream
        .publish(vec![record("a"), record(&"x".repeat(1 << 20)), record("b")])
        .await;
    let kinds: Vec<_> = outcomes.iter().map(kind).collect();
    assert_eq!(kinds, ["done", "rejected", "done"]);
    assert_eq!(stub.asked().len(), 1);
}

/// Applied, answer lost: the adapter asks again, and the second answer knows of the first.
#[tokio::test]
async fn what_was_applied_though_its_answer_was_lost_is_not_applied_twice() {
    let account = Account::new();
    account.claims().await;
    account.buckets().await;
    account.ads().await;
    account.stream(1).await;
    let losing = |times| {
        let stub = Stub::start(
            vec![Reply::Lose; times],
            Reply::Pass,
            Some(account.emulator.url()),
        );
        let aws = account.through(&stub.url());
        (stub, aws)
    };

    let (_stub, aws) = losing(2);
    let claims = aws.claims(Patience::UNHURRIED).await.unwrap();
    assert_eq!(claims.claim(claim(), NOW_MS).await.unwrap(), Claimed::First);

    let (_stub, aws) = losing(2);
    let buckets = aws.buckets(Patience::UNHURRIED).unwrap();
    let outcome = buckets.commit(vec![write()]).await.remove(0).unwrap();
    assert_eq!(outcome, Committed::Stale(Some(write().last)));
    let minute = write().key.minute;
    let stored = buckets
        .read(write().key.entity, minute, Minute(minute.0 + 1))
        .await
        .unwrap();
    assert_eq!(stored[0].counters, write().delta);

    // An administrator is told that nobody knows; what was stored is seen.
    let (_stub, aws) = losing(1);
    let catalog = aws.catalog(None, CatalogOptions::default()).unwrap();
    assert_eq!(kind(&catalog.create_ad(&ad()).await), "ambiguous");
    assert_eq!(catalog.create_ad(&ad()).await.unwrap(), Changed::Conflict);

    // A record is read twice, in one shard, and counted once by its id.
    let (_stub, aws) = losing(1);
    let stream = aws.stream(Patience::UNHURRIED).await.unwrap();
    stream.publish(vec![record("twice")]).await.remove(0).unwrap();
    let shards = account.aws.shards(Patience::UNHURRIED).unwrap();
    let shard = shards.shards().await.unwrap().remove(0).id;
    let read = shards.read(&shard, None, 10).await.unwrap();
    assert_eq!(
        read.iter().map(|record| &*record.data).collect::<Vec<_>>(),
        [b"twice"; 2]
    );
}

#[tokio::test]
async fn an_ad_that_was_known_is_answered_while_dynamodb_is_down() {
    let account = Account::new();
    account.ads().await;
    account.bucket().await;
    let catalog = account.aws.catalog(None, CatalogOptions::default()).unwrap();
    assert_eq!(catalog.create_ad(&ad()).await.unwrap(), Changed::Done);
    let writer = account.aws.snapshot_writer(Patience::UNHURRIED).unwrap();
    assert_eq!(writer.write().await.unwrap(), 1);

    for down in [Reply::Close, Reply::Silence] {
        let stub = Stub::start([], down, None);
        let aws = account.through(&stub.url());
        // A cold process: it has read nothing but the snapshot, which is too old to be taken without asking.
        let snapshot = account.aws.snapshot(Patience::UNHURRIED).unwrap();
        assert_eq!(snapshot.load().await.unwrap(), Some(1));
        let options = CatalogOptions {
            snapshot_fresh_ms: 0,
            ..CatalogOptions::default()
        };
        let catalog = aws.catalog(Some(snapshot.clone()), options).unwrap();
        assert_eq!(catalog.ad(AdId(731)).await.unwrap().as_deref(), Some(&ad()));
        assert!(!stub.asked().is_empty(), "the table was asked first");
        assert!(
            catalog.ad(AdId(732)).await.is_err(),
            "nobody knows whether there is such an ad"
        );

        // A fresh snapshot answers alone.
        let asked = stub.asked().len();
        let catalog = aws.catalog(Some(snapshot), CatalogOptions::default()).unwrap();
        assert_eq!(catalog.ad(AdId(731)).await.unwrap().as_deref(), Some(&ad()));
        assert_eq!(stub.asked().len(), asked);
    }
}

#[tokio::test]
async fn a_warm_process_answers_what_it_has_read_while_dynamodb_is_down() {
    let account = Account::new();
    account.ads().await;
    let catalog = account.aws.catalog(None, CatalogOptions::default()).unwrap();
    catalog.create_ad(&ad()).await.unwrap();
    let stub = Stub::start([Reply::Pass], Reply::Close, Some(account.emulator.url()));
    let options = CatalogOptions {
        fresh_ms: 0,
        ..CatalogOptions::unhurried(Patience::UNHURRIED.within(3_000))
    };
    let catalog = account.through(&stub.url()).catalog(None, options).unwrap();
    for _ in 0..3 {
        assert_eq!(catalog.ad(AdId(731)).await.unwrap().as_deref(), Some(&ad()));
    }
    assert!(stub.asked().len() > 2, "the table was asked each time");
}

#[tokio::test]
async fn quarantine_keeps_one_object_for_each_thing() {
    let account = Account::new();
    account.bucket().await;
    let quarantine = account.aws.quarantine(Patience::UNHURRIED).unwrap();
    let item = |bytes: &[u8]| Quarantined {
        shard: "shardId-000000000000".into(),
        sequence_number: SequenceNumber::from(77),
        arrived_at_ms: NOW_MS,
        reason: "not a click record".to_owned(),
        bytes: bytes.to_vec(),
    };
    for bytes in [&b"\xff{"[..], b"\xff{", b"another of the same number"] {
        quarantine.keep(item(bytes)).await.unwrap();
    }
    let s3 = account.aws.s3();
    let bucket = account.name(Resource::Bucket);
    let listed = s3.list_objects_v2().bucket(&bucket).send().await.unwrap();
    let keys: Vec<&str> = listed
        .contents()
        .iter()
        .filter_map(|object| object.key())
        .collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    let mut found = Vec::new();
    for key in keys {
        assert!(
            key.starts_with("quarantine/dt=2026-01-02/shardId-000000000000/77-"),
            "{key}"
        );
        let object = s3.get_object().bucket(&bucket).key(key).send().await.unwrap();
        let bytes = object.body.collect().await.unwrap().into_bytes();
        let object: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(object["sequence_number"], "77");
        assert_eq!(object["reason"], "not a click record");
        found.push(object["bytes_base64"].as_str().unwrap().to_owned());
    }
    assert!(found.contains(&"/3s=".to_owned()), "{found:?}");
}

#[tokio::test]
async fn a_message_of_the_spill_is_read_as_it_was_kept() {
    let stub = Stub::start([], Reply::Answer(200, "{}".to_owned()), None);
    // The SDK checks the answer's checksum, which the stub does not give: what was sent is what counts.
    let _ = aws_spill(&stub).keep(record("line\n")).await;
    let asked: serde_json::Value = serde_json::from_str(&stub.asked()[0]).unwrap();
    let body = asked["MessageBody"].as_str().unwrap();
    assert_eq!(SpillQueue::record(body).unwrap(), record("line\n"));
}

fn aws_spill(stub: &Stub) -> SpillQueue {
    at(stub).spill(HURRIED).unwrap()
}
