//! `/v1/reconciliations`: reports, corrections, restatements; who sees them, and what is refused.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use clickledger_core::domain::correction::{Cause, Correction, HourReport, Outcome, RunKind};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdvertiserId, CampaignId};
use clickledger_core::domain::manifest::{HourState, LakeTotals, Manifest};
use clickledger_core::domain::sealed::SealedHour;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{Manifests, SealReports, SealedCounts};
use clickledger_core::service::reconcile::Restatement;
use serde_json::{Value, json};

use crate::world::{World, request};

/// 2026-01-01T20:00:00Z
const HOUR: Hour = Hour(490_916);
pub(crate) const SEALED: &str = "2026-01-01T20:00:00Z";

fn valid(count: u64) -> Counters {
    [(CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ), count)]
        .into_iter()
        .collect()
}

fn report(version: u64, replaces: u64, at_ms: i64) -> HourReport {
    HourReport {
        hour: HOUR,
        run: RunKind::Hourly,
        outcome: Outcome::Sealed,
        state: HourState::Sealed,
        version,
        replaces,
        lake: LakeTotals {
            rows: 12,
            clicks: 10,
            valid: 7,
        },
        counted: 9,
        counted_valid: 6,
        corrections: 4,
        detail: String::new(),
        at_ms,
    }
}

fn correction(entity: Entity, version: u64) -> Correction {
    correction_in(HOUR, entity, version)
}

/// A valid click and a robot's that came late, in the hour's seventh minute.
pub(crate) fn correction_in(hour: Hour, entity: Entity, version: u64) -> Correction {
    let mut after = valid(2);
    after.add(CounterKey::of(Verdict::Bot, Device::Bot, Country::ZZ), 1);
    Correction {
        entity,
        minute: Minute(hour.first_minute().0 + 7),
        version,
        before: valid(1),
        after,
        cause: Cause::Late,
        adjustment: false,
        made_at_ms: hour.end_ms() + 400_000,
    }
}

/// An hour that version 5 sealed in the place of version 3, while version 4 was overtaken; with corrections of this ad of
/// advertiser 9, its campaign and its advertiser, of advertiser 8, and of the total.
pub(crate) async fn sealed(world: &World, ad: &str) {
    let seals = &world.seals;
    let ad = Entity::Ad(ad.parse().unwrap());
    let own = [
        ad,
        Entity::Campaign(CampaignId(1009)),
        Entity::Advertiser(AdvertiserId(9)),
    ];
    for (version, entities) in [
        (3, vec![ad, Entity::Total]),
        (4, own.to_vec()),
        (
            5,
            [
                own.to_vec(),
                vec![Entity::Advertiser(AdvertiserId(8)), Entity::Total],
            ]
            .concat(),
        ),
    ] {
        let corrections: Vec<Correction> = entities
            .iter()
            .map(|entity| correction(*entity, version))
            .collect();
        seals.correct(HOUR, &corrections).await.unwrap();
    }
    for (version, replaces) in [(3, 0), (5, 3)] {
        let manifest = Manifest {
            state: HourState::Sealed,
            version,
            revision: u64::from(version > 3),
            ..Manifest::open(HOUR)
        };
        assert!(seals.flip(&manifest).await.unwrap());
        let at_ms = HOUR.end_ms() + 360_000 + version.cast_signed();
        seals.report(&report(version, replaces, at_ms)).await.unwrap();
    }
    let overtaken = HourReport {
        outcome: Outcome::Overtaken,
        replaces: 4,
        ..report(4, 4, HOUR.end_ms() + 360_004)
    };
    seals.report(&overtaken).await.unwrap();
}

pub(crate) async fn as_key(world: &World, key: &str, path: &str) -> Value {
    let answer = world.send(request("GET", path, Some(key), None)).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer.json()
}

/// Which entities and versions a list of corrections names.
pub(crate) fn named(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let id = item["id"].as_str().unwrap_or("-");
            format!("{} {} {}", item["version"], item["entity"].as_str().unwrap(), id)
        })
        .collect()
}

#[tokio::test]
async fn reports_say_what_was_found_in_the_order_of_hours_and_times() {
    let world = World::new().await;
    sealed(&world, "731").await;
    let page = world
        .ask(
            "GET",
            "/v1/reconciliations?from=2026-01-01T20:30:00Z&to=2026-01-01T20:31:00Z",
            None,
        )
        .await
        .json();
    let versions: Vec<u64> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, [3, 4, 5], "the range touches the hour");
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(
        page["items"][2],
        json!({ "hour": SEALED, "run": "hourly", "outcome": "sealed", "state": "sealed", "version": 5, "replaces": 3,
                "clicks_in_lake": 10, "rows_in_lake": 12, "valid_in_lake": 7, "clicks_counted": 9, "valid_counted": 6,
                "difference": 1, "corrections": 4, "detail": "", "at": "2026-01-01T21:06:00.005Z" })
    );
    for elsewhere in ["from=2026-01-01T21:00:00Z", "to=2026-01-01T20:00:00Z"] {
        let page = world
            .ask("GET", &format!("/v1/reconciliations?{elsewhere}"), None)
            .await
            .json();
        assert_eq!(page["items"], json!([]), "{elsewhere}");
    }
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = world
            .ask("GET", &format!("/v1/reconciliations?limit=2{cursor}"), None)
            .await
            .json();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["version"].as_u64().unwrap()),
        );
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, [3, 4, 5]);
}

#[tokio::test]
async fn corrections_are_those_in_force_and_each_advertiser_sees_its_own() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.ad(8).await;
    sealed(&world, &ad).await;
    let path = format!("/v1/reconciliations/{SEALED}/corrections");
    let all = world.ask("GET", &path, None).await.json();
    let expected = [
        format!("3 ad {ad}"),
        "3 total -".to_owned(),
        format!("5 ad {ad}"),
        "5 campaign 1009".to_owned(),
        "5 advertiser 8".to_owned(),
        "5 advertiser 9".to_owned(),
        "5 total -".to_owned(),
    ];
    assert_eq!(
        named(&all),
        expected,
        "version 4 was overtaken: nobody ever saw it"
    );
    let counts = |gross, valid, invalid: Value| {
        json!({ "gross_clicks": gross, "clicks": valid, "invalid_clicks": gross - valid, "invalid_by_verdict": invalid,
                "cells": [{ "device": "mobile", "country": "ZZ", "clicks": valid }] })
    };
    assert_eq!(
        all["items"][0],
        json!({ "entity": "ad", "id": ad, "minute": "2026-01-01T20:07:00Z", "version": 3,
                "before": counts(1, 1, json!({})), "after": counts(3, 2, json!({ "bot": 1 })),
                "cause": "late", "adjustment": false, "made_at": "2026-01-01T21:06:40Z" })
    );

    for (advertiser, expected) in [
        (
            9,
            vec![
                expected[0].clone(),
                expected[2].clone(),
                expected[3].clone(),
                expected[5].clone(),
            ],
        ),
        (8, vec![expected[4].clone()]),
        (7, vec![]),
    ] {
        for read_only in [false, true] {
            let key = world.advertiser(advertiser, read_only).await;
            assert_eq!(named(&as_key(&world, &key, &path).await), expected);
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            for _ in 0..10 {
                let page = as_key(&world, &key, &format!("{path}?limit=1{cursor}")).await;
                seen.extend(named(&page));
                let Some(next) = page["next_cursor"].as_str() else {
                    break;
                };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(seen, expected, "one by one");
        }
    }
    // An hour that nobody has looked at has none, written in any zone.
    for hour in ["2026-01-01T19:00:00Z", "2026-01-01T20:00:00%2B01:00"] {
        let page = world
            .ask("GET", &format!("/v1/reconciliations/{hour}/corrections"), None)
            .await
            .json();
        assert_eq!(page, json!({ "items": [], "next_cursor": null }));
    }
    let zoned = world
        .ask(
            "GET",
            "/v1/reconciliations/2026-01-01T21:00:00%2B01:00/corrections",
            None,
        )
        .await
        .json();
    assert_eq!(named(&zoned), named(&all));
}

#[tokio::test]
async fn an_advertisers_few_among_many_are_found_page_by_page() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    sealed(&world, &ad).await;
    // Far more of others than one request reads.
    let others: Vec<Correction> = (0..20_000)
        .map(|n| correction(Entity::Advertiser(AdvertiserId(100_000 + n)), 5))
        .collect();
    world.seals.correct(HOUR, &others).await.unwrap();
    world
        .seals
        .correct(HOUR, &[correction(Entity::Advertiser(AdvertiserId(200_000)), 5)])
        .await
        .unwrap();
    let key = world.advertiser(200_000, true).await;
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        pages += 1;
        assert!(pages < 10);
        let path = format!("/v1/reconciliations/{SEALED}/corrections?limit=1000{cursor}");
        let page = as_key(&world, &key, &path).await;
        seen.extend(named(&page));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("?{next}").replace('?', "&cursor=");
    }
    assert_eq!(seen, ["5 advertiser 200000"]);
    assert_eq!(pages, 1, "what is others' is passed over");
}

#[tokio::test]
async fn an_advertisers_cursors_name_nobody_else() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    sealed(&world, &ad).await;
    let of = |advertiser| Entity::Advertiser(AdvertiserId(advertiser));
    let others = |version| (0..3_000).map(move |n| correction(of(100_000 + n), version));
    let own = [correction(of(50_000), 3), correction(of(50_000), 5)];
    let all: Vec<Correction> = others(3).chain(others(5)).chain(own).collect();
    world.seals.correct(HOUR, &all).await.unwrap();
    let key = world.advertiser(50_000, false).await;
    for path in [
        format!("/v1/reconciliations/{SEALED}/corrections?limit=1"),
        format!("/v1/corrections?from={SEALED}&to=2026-01-02T00:00:00Z&limit=1"),
        format!("/v1/corrections?from={SEALED}&to=2026-01-02T00:00:00Z&limit=1&entity=advertiser&id=50000"),
    ] {
        let (mut seen, mut cursors, mut next) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = as_key(&world, &key, &format!("{path}{next}")).await;
            seen.extend(named(&page));
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            next = format!("&cursor={cursor}");
            cursors.push(cursor.to_owned());
        }
        assert_eq!(seen, ["3 advertiser 50000", "5 advertiser 50000"], "{path}");
        assert!(!cursors.is_empty(), "{path}");
        assert!(
            cursors.iter().all(|cursor| cursor.ends_with(".v.50000")),
            "{cursors:?}"
        );
    }
}

#[tokio::test]
async fn a_restatement_is_started_and_leads_to_its_reports() {
    let world = World::new().await;
    sealed(&world, "731").await;
    let body = json!({ "from": SEALED, "to": "2026-01-01T23:00:00+01:00" });
    let answer = world.ask("POST", "/v1/reconciliations", Some(body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    assert_eq!(
        answer.json(),
        json!({ "from": SEALED, "to": "2026-01-01T22:00:00Z", "dry_run": false, "accept_lowering": false,
                "accepted_at": "2026-01-02T00:00:30Z" })
    );
    let location = answer.header("location").unwrap();
    assert_eq!(
        location,
        "reconciliations?from=2026-01-01T20:00:00Z&to=2026-01-01T22:00:00Z"
    );
    let reports = world.ask("GET", &format!("/v1/{location}"), None).await.json();
    assert_eq!(reports["items"].as_array().unwrap().len(), 3);

    let body =
        json!({ "from": SEALED, "to": "2026-01-02T00:00:00Z", "dry_run": true, "accept_lowering": true });
    assert_eq!(
        world.ask("POST", "/v1/reconciliations", Some(body)).await.status,
        StatusCode::ACCEPTED
    );
    let order = |hours, dry_run, accept_lowering| Restatement {
        from: HOUR,
        to: Hour(HOUR.0 + hours),
        dry_run,
        accept_lowering,
        // When it was accepted: whoever works it twice goes on with what it has begun.
        asked_at_ms: Some(1_767_312_030_000),
    };
    assert_eq!(
        *world.orders.placed.lock().unwrap(),
        [order(2, false, false), order(4, true, true)]
    );

    world.orders.refused.store(true, Ordering::Relaxed);
    let body = json!({ "from": SEALED, "to": "2026-01-01T21:00:00Z" });
    let refused = world.ask("POST", "/v1/reconciliations", Some(body)).await;
    refused.problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn whatever_cannot_be_meant_is_refused_and_starts_nothing() {
    let world = World::new().await;
    let hour = "2026-01-01T21:00:00Z";
    for (body, parameter) in [
        (json!({ "to": hour }), "from"),
        (json!({ "from": hour }), "to"),
        (json!({ "from": SEALED, "to": SEALED }), "to"),
        (json!({ "from": hour, "to": SEALED }), "to"),
        (json!({ "from": "2026-01-01T20:00:01Z", "to": hour }), "from"),
        (json!({ "from": "2026-01-01T20:30:00+00:00", "to": hour }), "from"),
        (json!({ "from": SEALED, "to": "2026-01-01T20:59:59.999Z" }), "to"),
        (json!({ "from": SEALED, "to": "2026-01-02T01:00:00Z" }), "to"),
        (json!({ "from": SEALED, "to": "2026-01-01T21:00:00" }), "to"),
        (json!({ "from": "yesterday", "to": hour }), "from"),
        (json!({ "from": 490_916, "to": hour }), "from"),
        (json!({ "from": SEALED, "to": hour, "dry_run": "yes" }), "dry_run"),
        (json!({ "from": SEALED, "to": hour, "dry_run": null }), "dry_run"),
        (
            json!({ "from": SEALED, "to": hour, "accept_lowering": 1 }),
            "accept_lowering",
        ),
    ] {
        let answer = world.ask("POST", "/v1/reconciliations", Some(body.clone())).await;
        let document = answer.problem(400, "invalid-body");
        assert!(document.to_string().contains(parameter), "{body}: {document}");
    }
    for body in [
        json!([]),
        json!("x"),
        json!(null),
        json!({ "from": SEALED, "to": hour, "force": true }),
    ] {
        world
            .ask("POST", "/v1/reconciliations", Some(body))
            .await
            .problem(400, "invalid-body");
    }
    let long = json!({ "from": "2024-12-31T00:00:00Z", "to": "2026-01-01T01:00:00Z" });
    world
        .ask("POST", "/v1/reconciliations", Some(long))
        .await
        .problem(422, "range-too-large");
    let body = json!({ "from": SEALED, "to": hour });
    world
        .ask("POST", "/v1/reconciliations?dry_run=true", Some(body))
        .await
        .problem_with(400, "invalid-parameter", "dry_run");
    assert!(world.orders.placed.lock().unwrap().is_empty());

    for (query, parameter) in [
        ("from=now", "from"),
        ("to=2026-01-01", "to"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=1", "cursor"),
        ("cursor=490916.-0", "cursor"),
        ("cursor=%00", "cursor"),
        ("state=open", "state"),
        ("from=2026-01-01T00:00:00Z&from=2026-01-01T00:00:00Z", "from"),
    ] {
        let answer = world
            .ask("GET", &format!("/v1/reconciliations?{query}"), None)
            .await;
        answer.problem_with(400, "invalid-parameter", parameter);
    }
    for hour in [
        "now",
        "490916",
        "2026-01-01T20:30:00Z",
        "2026-01-01T20:00:00",
        "2026-13-01T00:00:00Z",
        "%00",
        "..%2f..",
    ] {
        let answer = world
            .ask("GET", &format!("/v1/reconciliations/{hour}/corrections"), None)
            .await;
        answer.problem_with(400, "invalid-parameter", "hour");
    }
    for cursor in [
        "5",
        "5.29454967.a.0",
        "5.29454967.x.1",
        "5.29454967.a.7.",
        "-5.29454967.t",
        "5.29454967.T",
    ] {
        let path = format!("/v1/reconciliations/{SEALED}/corrections?cursor={cursor}");
        world
            .ask("GET", &path, None)
            .await
            .problem_with(400, "invalid-parameter", "cursor");
    }
    for (method, path) in [
        ("DELETE", "/v1/reconciliations".to_owned()),
        ("PUT", "/v1/reconciliations".to_owned()),
        ("POST", format!("/v1/reconciliations/{SEALED}/corrections")),
    ] {
        world
            .ask(method, &path, None)
            .await
            .problem(405, "method-not-allowed");
    }
}

#[tokio::test]
async fn a_sealed_hour_is_answered_as_final() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    sealed(&world, &ad).await;
    let item = |version, clicks| SealedHour {
        entity: Entity::Ad(ad.parse().unwrap()),
        hour: HOUR,
        version,
        minutes: vec![(7, valid(clicks))],
    };
    for (version, clicks) in [(3, 1), (4, 70), (5, 2)] {
        let items = vec![item(version, clicks)];
        world.seals.write_hours(HOUR, version, 0, items).await.unwrap();
    }
    let path = format!("/v1/ads/{ad}/metrics?from={SEALED}&to=2026-01-01T22:00:00Z");
    let page = world.ask("GET", &path, None).await.json();
    let rows: Vec<(u64, bool)> = page["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["clicks"].as_u64().unwrap(), row["final"].as_bool().unwrap()))
        .collect();
    assert_eq!(rows, [(2, true), (0, false)]);
    assert_eq!(
        page["meta"],
        json!({ "final_until": "2026-01-01T21:00:00Z", "as_of": "2026-01-02T00:00:30Z", "state": "mixed",
                "states": ["open", "sealed"], "next_cursor": null })
    );
}
