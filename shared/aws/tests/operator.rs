//! What operators ask, against a local emulator and against answers that a script gives.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../tests/src/emulator.rs"]
#[allow(unreachable_pub)] // it is a library's module elsewhere
mod emulator;
#[path = "../../../tests/src/fault_proxy.rs"]
#[allow(unreachable_pub, dead_code)] // not every suite uses all of it
mod fault_proxy;
#[allow(unreachable_pub, dead_code)]
mod resources;
#[path = "resources/stub.rs"]
#[allow(unreachable_pub, dead_code)]
mod stub;

use clickledger_aws::{Finding, Health, LAST_RESORT_FIELD, LogLine, Resource, SpillQueue, Stack};
use clickledger_core::ports::{Outgoing, Spill};
use clickledger_testkit::fixtures::ClickMaker;
use resources::Account;
use serde_json::json;
use stub::{Reply, Stub};

const NOW_MS: i64 = 1_767_312_000_000;
const LOG: &str = "/clickledger/test/click";

fn records(count: usize) -> Vec<Outgoing> {
    let mut clicks = ClickMaker::new(7, 10, NOW_MS, 10.0);
    let record = |_| {
        let click = clicks.record();
        Outgoing {
            partition_key: click.partition_key.clone(),
            data: click.to_line().unwrap(),
        }
    };
    (0..count).map(record).collect()
}

fn line(record: &Outgoing) -> String {
    json!({ "level": "ERROR", LAST_RESORT_FIELD: SpillQueue::body(record).unwrap() }).to_string()
}

/// The records of the log in this time, page by page.
async fn found(aws: &clickledger_aws::Aws, from_ms: i64, to_ms: i64) -> Vec<Outgoing> {
    let (operator, mut found, mut next) = (aws.operator(), Vec::new(), None);
    loop {
        let page = operator
            .last_resort_messages(LOG, from_ms, to_ms, next)
            .await
            .unwrap();
        found.extend(page.messages.iter().map(|message| match LogLine::read(message) {
            LogLine::Record(record) => record,
            other => panic!("{other:?}"),
        }));
        next = page.next;
        if next.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn records_of_the_log_come_back_through_the_spill() {
    let account = Account::with_queue().await;
    let records = records(5);
    account.call(
        "logs",
        "Logs_20140328.CreateLogGroup",
        &json!({ "logGroupName": LOG }),
    );
    let stream = json!({ "logGroupName": LOG, "logStreamName": "one" });
    account.call("logs", "Logs_20140328.CreateLogStream", &stream);
    let at = |place: usize, message: String| json!({ "timestamp": NOW_MS + place as i64 * 1_000, "message": message });
    let mut events: Vec<_> = records
        .iter()
        .enumerate()
        .map(|(place, record)| at(place, line(record)))
        .collect();
    events.push(at(9, "{\"level\":\"INFO\",\"message\":\"answered\"}".to_owned()));
    let put = json!({ "logGroupName": LOG, "logStreamName": "one", "logEvents": events });
    account.call("logs", "Logs_20140328.PutLogEvents", &put);

    assert_eq!(found(&account.aws, NOW_MS, NOW_MS + 60_000).await, records);
    assert_eq!(
        found(&account.aws, NOW_MS + 1_000, NOW_MS + 3_000).await,
        records[1..3],
        "to is exclusive"
    );

    let spill = account.aws.operator().spill(&account.name(Resource::SpillQueue));
    for record in &records {
        spill.keep(record.clone()).await.unwrap();
    }
    let mut kept = Vec::new();
    while kept.len() < records.len() {
        let received = spill.receive(10, NOW_MS, 60_000).await.unwrap();
        assert!(!received.is_empty(), "{} of {}", kept.len(), records.len());
        kept.extend(received.into_iter().map(|spilled| spilled.record.data));
    }
    kept.sort();
    let mut sent: Vec<_> = records.iter().map(|record| record.data.clone()).collect();
    sent.sort();
    assert_eq!(kept, sent);
}

#[tokio::test]
async fn every_page_of_the_log_is_read_also_behind_empty_ones_and_throttles() {
    let records = records(3);
    let page = |of: &[Outgoing], next: Option<&str>| {
        let events: Vec<_> = of
            .iter()
            .map(|record| json!({ "message": line(record) }))
            .collect();
        Reply::Answer(200, json!({ "events": events, "nextToken": next }).to_string())
    };
    let busy = json!({ "__type": "ThrottlingException", "message": "Rate exceeded" });
    let script = [
        page(&records[..1], Some("a")),
        page(&[], Some("b")),
        Reply::Answer(400, busy.to_string()),
        page(&records[1..2], Some("c")),
        Reply::Answer(503, String::new()),
        page(&records[2..], None),
    ];
    let stub = Stub::start(script, Reply::Answer(500, String::new()), None);
    let account = Account::new();
    assert_eq!(
        found(&account.through(&stub.url()), NOW_MS, NOW_MS + 1).await,
        records
    );
    let asked = stub.asked();
    assert_eq!(asked.len(), 6);
    assert!(asked[5].contains("\"nextToken\":\"c\""), "{}", asked[5]);
}

#[tokio::test]
async fn pages_that_go_round_in_circles_and_refusals_end_it_at_once() {
    let account = Account::new();
    let circle = json!({ "events": [], "nextToken": "a" }).to_string();
    let stub = Stub::start([], Reply::Answer(200, circle), None);
    let operator = account.through(&stub.url()).operator();
    let page = operator
        .last_resort_messages(LOG, 0, 1, Some("a".to_owned()))
        .await;
    assert!(page.is_err());

    let denied = json!({ "__type": "AccessDeniedException", "message": "not you" }).to_string();
    let stub = Stub::start([], Reply::Answer(400, denied), None);
    let operator = account.through(&stub.url()).operator();
    let error = operator.last_resort_messages(LOG, 0, 1, None).await.unwrap_err();
    assert!(error.to_string().contains("AccessDeniedException"), "{error}");
    assert_eq!(stub.asked().len(), 1);
}

fn health<'a>(findings: &'a [Finding], subject: &str) -> &'a Health {
    let found = findings.iter().find(|finding| finding.subject == subject);
    &found.unwrap_or_else(|| panic!("{subject}: {findings:#?}")).health
}

#[tokio::test]
async fn the_doctor_finds_what_is_enough_what_is_not_and_what_it_cannot_read() {
    let account = Account::with_queue().await;
    account.claims().await;
    account.buckets().await;
    account.stream(2).await;
    let mut stack = Stack {
        name: "test".to_owned(),
        ..Stack::default()
    };
    let url = account.name(Resource::SpillQueue);
    for (name, value) in [
        ("StreamName", "clicks"),
        ("ClaimsTableName", "claims"),
        ("BucketsTableName", "buckets"),
        ("SpillQueueUrl", &url),
        ("DeadLetterQueueUrl", &url),
    ] {
        stack.outputs.insert(name.to_owned(), value.to_owned());
    }
    stack
        .parameters
        .insert("ClickRateLimit".to_owned(), "2000".to_owned());
    let operator = account.aws.operator();
    let findings = operator.examine(&stack, 1_000).await;
    assert!(
        matches!(health(&findings, "stream: shards"), Health::Good(_)),
        "{findings:#?}"
    );
    assert!(matches!(health(&findings, "throttle of /click"), Health::Good(_)));
    assert!(matches!(health(&findings, "dead letters"), Health::Good(_)));
    // Kinesis keeps a day, SQS four days, tables nothing and forever, unless they are told.
    for subject in [
        "stream: retention",
        "spill: retention",
        "BucketsTableName: point-in-time recovery",
        "ClaimsTableName: expiry",
    ] {
        assert!(
            matches!(health(&findings, subject), Health::Bad { .. }),
            "{subject}: {findings:#?}"
        );
    }
    let Health::Unread { why, permission } = health(&findings, "LanesTableName: expiry") else {
        panic!("{findings:#?}");
    };
    assert!(why.contains("LanesTableName"), "{why}");
    assert_eq!(*permission, "dynamodb:DescribeTimeToLive");

    account
        .aws
        .operator()
        .spill(&url)
        .keep(records(1).remove(0))
        .await
        .unwrap();
    let findings = operator.examine(&stack, 5_000).await;
    for subject in ["stream: shards", "throttle of /click", "dead letters"] {
        assert!(
            matches!(health(&findings, subject), Health::Bad { .. }),
            "{subject}: {findings:#?}"
        );
    }
}

#[tokio::test]
async fn quotas_are_those_of_the_account_or_else_the_defaults() {
    let account = Account::new();
    let none = json!({ "__type": "NoSuchResourceException", "message": "never applied" }).to_string();
    // Whatever is asked, in whatever order, is refused or answered alike, but for the quotas.
    let value = json!({ "Quota": { "Value": 10_000.0 } }).to_string();
    for (reply, asked) in [
        (Reply::Answer(200, value.clone()), "GetServiceQuota"),
        (Reply::Answer(400, none), "default"),
    ] {
        let stub = Stub::start([], reply, None);
        let operator = account.through(&stub.url()).operator();
        let findings = operator.examine(&Stack::default(), 1_000).await;
        let found = health(&findings, "API Gateway requests/s of the account");
        match asked {
            "GetServiceQuota" => assert_eq!(
                *found,
                Health::Good("10000 requests/s; 2000 are needed".to_owned())
            ),
            _ => {
                assert!(
                    matches!(
                        found,
                        Health::Unread {
                            permission: "servicequotas:GetServiceQuota",
                            ..
                        }
                    ),
                    "{found:?}"
                );
                let asked = stub.asked();
                let quotas = asked.iter().filter(|body| body.contains("L-8A5B8E43"));
                assert_eq!(quotas.count(), 2, "the default is asked for too");
            }
        }
    }
}
