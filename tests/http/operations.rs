//! `GET /v1/operations`: what is told is what is there, and what cannot be told is null.

use axum::http::StatusCode;
use clickledger_core::domain::correction::{HourReport, Outcome, RunKind};
use clickledger_core::domain::manifest::{HourState, LakeTotals, Manifest};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{DAY_MS, HOUR_MS, Hour};
use clickledger_core::ports::{Manifests, Outgoing, Quarantine, Quarantined, SealReports, Spill};
use serde_json::{Value, json};

use crate::world::{NOW_MS, World, get};

const PATH: &str = "/v1/operations";

async fn standing(world: &World) -> Value {
    let answer = world.ask("GET", PATH, None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_new_folder_knows_nothing_and_says_so() {
    let world = World::new().await;
    assert_eq!(
        standing(&world).await,
        json!({
            "as_of": "2026-01-02T00:00:30Z", "clicks_per_second": 0.0, "count_delay_ms": null,
            "spill": { "waiting": 0, "oldest_ms": null }, "quarantined_24h": 0, "last_resort_24h": null,
            "sealing": { "sealed_until": null, "age_seconds": null, "disputed_hours": 0, "drift_clicks_24h": null },
        })
    );
}

#[tokio::test]
async fn rate_and_delay_are_of_what_was_counted() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.slot("top", &[&ad]).await;
    // Valid and invalid ones, in the minute that is still running.
    for _ in 0..3 {
        let token = world.token("top").await;
        world.send(get(&format!("/click?adId={ad}&imp={token}"))).await;
        world.send(get(&format!("/click?adId={ad}"))).await;
    }
    world.clock.advance(1_500);
    world.count().await;
    let now = standing(&world).await;
    assert_eq!(now["clicks_per_second"], 0.0);
    for quantile in ["p50", "p99"] {
        let delay = now["count_delay_ms"][quantile].as_f64().unwrap();
        assert!((1_480.0..=1_520.0).contains(&delay), "{now}");
    }
    // Five full minutes, of which one had six clicks. What was told is told again for five seconds.
    world.clock.advance(4_999);
    assert_eq!(standing(&world).await, now);
    world.clock.advance(60_000);
    let later = standing(&world).await;
    assert_eq!(later["clicks_per_second"], 0.02);
    assert_eq!(later["count_delay_ms"], now["count_delay_ms"]);
    world.clock.advance(10 * 60_000);
    let long_after = standing(&world).await;
    assert_eq!(long_after["clicks_per_second"], 0.0);
    assert_eq!(long_after["count_delay_ms"], Value::Null);
}

#[tokio::test]
async fn what_waits_and_what_was_put_away_is_seen() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.slot("top", &[&ad]).await;
    world.send(get(&format!("/click?adId={ad}"))).await;
    let line = world.recorded().await[0].to_line().unwrap();
    let spill = world.store.spill();
    for data in [line, b"no click".to_vec()] {
        let partition_key = "1#0".to_owned();
        spill.keep(Outgoing { partition_key, data }).await.unwrap();
    }
    for arrived_at_ms in [NOW_MS - DAY_MS - 1, NOW_MS - DAY_MS, NOW_MS] {
        let item = Quarantined {
            shard: "shardId-000000000000".into(),
            sequence_number: SequenceNumber::from(7),
            arrived_at_ms,
            reason: "not a click record".to_owned(),
            bytes: b"no click".to_vec(),
        };
        world.store.quarantine().keep(item).await.unwrap();
    }
    let now = standing(&world).await;
    assert_eq!(now["spill"], json!({ "waiting": 2, "oldest_ms": 0 }));
    assert_eq!(now["quarantined_24h"], 2);
    world.clock.advance(7_000);
    let later = standing(&world).await;
    assert_eq!(later["spill"], json!({ "waiting": 2, "oldest_ms": 7_000 }));
    assert_eq!(later["quarantined_24h"], 1);
}

#[tokio::test]
async fn sealing_is_told_from_manifests_and_reports() {
    let world = World::new().await;
    let now = Hour::of(NOW_MS);
    let states = [
        (now.0 - 5, HourState::Sealed),
        (now.0 - 4, HourState::Sealed),
        (now.0 - 3, HourState::Disputed),
        (now.0 - 2, HourState::Sealed),
    ];
    for (hour, state) in states {
        let manifest = Manifest {
            state,
            version: 1,
            sealed_at_ms: Hour(hour).end_ms() + 400_000,
            ..Manifest::open(Hour(hour))
        };
        assert!(world.seals.flip(&manifest).await.unwrap());
    }
    let report = |hour, outcome, lake, counted, at_ms| HourReport {
        hour: Hour(hour),
        run: RunKind::Hourly,
        outcome,
        state: HourState::Sealed,
        version: 1,
        replaces: 0,
        lake: LakeTotals {
            rows: lake,
            clicks: lake,
            valid: lake,
        },
        counted,
        counted_valid: counted,
        corrections: 1,
        detail: String::new(),
        at_ms,
    };
    for report in [
        report(now.0 - 5, Outcome::Sealed, 100, 97, NOW_MS - 4 * HOUR_MS),
        report(now.0 - 4, Outcome::Sealed, 10, 11, NOW_MS - 3 * HOUR_MS),
        report(now.0 - 4, Outcome::Waiting, 50, 11, NOW_MS - 3 * HOUR_MS + 1),
        report(now.0 - 3, Outcome::Disputed, 0, 1_000, NOW_MS - 2 * HOUR_MS),
        // Of a run long ago.
        report(now.0 - 5, Outcome::Sealed, 100, 0, NOW_MS - 2 * DAY_MS),
    ] {
        world.seals.report(&report).await.unwrap();
    }
    assert_eq!(
        standing(&world).await["sealing"],
        json!({
            "sealed_until": "2026-01-01T21:00:00Z", "age_seconds": 3 * 3_600 + 30,
            "disputed_hours": 1, "drift_clicks_24h": 4,
        })
    );
}
