//! `/v1/corrections`: what was corrected in a range; who sees it, and what is refused.

use clickledger_core::domain::correction::{HourReport, Outcome, RunKind};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::AdvertiserId;
use clickledger_core::domain::manifest::{HourState, LakeTotals, Manifest};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{Manifests, SealReports};
use serde_json::Value;

use crate::reconciliations::{as_key, correction_in, named, sealed};
use crate::world::World;

/// The hours after the one that `sealed` makes; every other one was corrected, for advertisers 8 and 9.
async fn sealed_hours(world: &World, hours: i64) {
    for n in 1..=hours {
        let hour = Hour(490_916 + n);
        let corrected = n % 2 == 1;
        if corrected {
            let corrections = [8, 9].map(|id| correction_in(hour, Entity::Advertiser(AdvertiserId(id)), 1));
            world.seals.correct(hour, &corrections).await.unwrap();
        }
        let manifest = Manifest {
            state: HourState::Sealed,
            version: 1,
            ..Manifest::open(hour)
        };
        assert!(world.seals.flip(&manifest).await.unwrap());
        let report = HourReport {
            hour,
            run: RunKind::Hourly,
            outcome: Outcome::Sealed,
            state: HourState::Sealed,
            version: 1,
            replaces: 0,
            lake: LakeTotals {
                rows: 0,
                clicks: 0,
                valid: 0,
            },
            counted: 0,
            counted_valid: 0,
            corrections: if corrected { 2 } else { 0 },
            detail: String::new(),
            at_ms: hour.end_ms() + 400_000,
        };
        world.seals.report(&report).await.unwrap();
    }
}

const RANGE: &str = "from=2026-01-01T20:00:00Z&to=2026-01-02T02:00:00Z";

/// The minutes of a list's items, in its order.
fn minutes(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item["minute"].as_str().unwrap()[..16].to_owned())
        .collect()
}

#[tokio::test]
async fn a_ranges_corrections_are_those_of_its_hours_and_each_advertiser_sees_its_own() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.ad(8).await;
    sealed(&world, &ad).await;
    sealed_hours(&world, 5).await;
    let path = format!("/v1/corrections?{RANGE}");
    let all = world.ask("GET", &path, None).await.json();
    assert_eq!(named(&all).len(), 7 + 3 * 2, "{all}");
    let hours = minutes(&all);
    assert!(hours.is_sorted(), "{hours:?}");

    let nine = world.advertiser(9, true).await;
    let own = as_key(&world, &nine, &path).await;
    let expected = [
        format!("3 ad {ad}"),
        format!("5 ad {ad}"),
        "5 campaign 1009".to_owned(),
        "5 advertiser 9".to_owned(),
        "1 advertiser 9".to_owned(),
        "1 advertiser 9".to_owned(),
        "1 advertiser 9".to_owned(),
    ];
    assert_eq!(named(&own), expected);
    assert_eq!(
        minutes(&own)[4..],
        ["2026-01-01T21:07", "2026-01-01T23:07", "2026-01-02T01:07"]
    );
    let seven = world.advertiser(7, false).await;
    assert_eq!(as_key(&world, &seven, &path).await["items"], Value::Array(vec![]));

    // One by one they are the same.
    for limit in [1, 2, 3, 6] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..20 {
            let page = as_key(&world, &nine, &format!("{path}&limit={limit}{cursor}")).await;
            assert!(page["items"].as_array().unwrap().len() <= limit);
            seen.extend(named(&page));
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, expected, "{limit} at a time");
    }
}

#[tokio::test]
async fn one_entitys_corrections_can_be_asked_for_and_anothers_are_none() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.ad(8).await;
    sealed(&world, &ad).await;
    sealed_hours(&world, 1).await;
    let nine = world.advertiser(9, true).await;
    for (asked, as_admin, as_nine) in [
        (format!("entity=ad&id={ad}"), 2, 2),
        ("entity=campaign&id=1009".to_owned(), 1, 1),
        ("entity=advertiser&id=9".to_owned(), 2, 2),
        ("entity=advertiser&id=8".to_owned(), 2, 0),
        ("entity=total".to_owned(), 2, 0),
        ("entity=placement&id=5".to_owned(), 0, 0),
    ] {
        let path = format!("/v1/corrections?{RANGE}&{asked}");
        let found = named(&world.ask("GET", &path, None).await.json());
        assert_eq!(found.len(), as_admin, "{asked}: {found:?}");
        let found = named(&as_key(&world, &nine, &path).await);
        assert_eq!(found.len(), as_nine, "{asked}: {found:?}");
    }
}

#[tokio::test]
async fn a_range_that_cannot_be_meant_is_refused() {
    let world = World::new().await;
    for (query, parameter) in [
        ("to=2026-01-02T00:00:00Z", "from"),
        ("from=2026-01-02T00:00:00Z", "to"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "to"),
        ("from=yesterday&to=2026-01-02T00:00:00Z", "from"),
        (&format!("{RANGE}&entity=user"), "entity"),
        (&format!("{RANGE}&entity=ad"), "id"),
        (&format!("{RANGE}&id=7"), "entity"),
        (&format!("{RANGE}&entity=total&id=7"), "id"),
        (&format!("{RANGE}&entity=ad&id=x"), "id"),
        (&format!("{RANGE}&limit=0"), "limit"),
        (&format!("{RANGE}&cursor=490916"), "cursor"),
        (&format!("{RANGE}&cursor=490916.x"), "cursor"),
        (&format!("{RANGE}&hour=1"), "hour"),
    ] {
        let answer = world.ask("GET", &format!("/v1/corrections?{query}"), None).await;
        answer.problem_with(400, "invalid-parameter", parameter);
    }
    let long = "/v1/corrections?from=2025-01-01T00:00:00Z&to=2026-01-03T00:00:00Z";
    world.ask("GET", long, None).await.problem(422, "range-too-large");
}
