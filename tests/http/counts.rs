//! `/v1/…/metrics`: what was clicked, as JSON and CSV.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::domain::manifest::{HourState, Manifest};
use clickledger_core::domain::sealed::SealedHour;
use clickledger_core::domain::time::{HOUR_MS, Hour};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{Manifests, SealedCounts};
use serde_json::{Value, json};

use crate::world::{Mode, NOW_MS, World, get, request, with};

const DAY: &str = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:01:00Z";

/// Advertiser 9's ad with two valid clicks in this minute, one of them clicked again, and one forged.
async fn clicked() -> (World, String, String) {
    let world = World::new().await;
    let ad = world.ad(9).await;
    let placement = world.slot("top", &[&ad]).await;
    let token = world.token("top").await;
    for token in [&token, &token, &world.token("top").await, "forged"] {
        let answer = world.send(get(&format!("/click?adId={ad}&imp={token}"))).await;
        assert_eq!(answer.status, StatusCode::FOUND);
    }
    world.count().await;
    (world, ad, placement)
}

#[tokio::test]
async fn the_answer_has_the_documented_shape() {
    let (world, ad, _) = clicked().await;
    let path = format!(
        "/v1/ads/{ad}/metrics?from=2026-01-02T00:00:00Z&to=2026-01-02T00:01:00Z&granularity=minute&tz=Europe/Berlin"
    );
    let answer = world.ask("GET", &path, None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("vary"), Some("accept, authorization, cookie"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let invalid = json!({ "duplicate": 1, "bad_token": 1 });
    assert_eq!(
        answer.json(),
        json!({
            "query": { "entity": "ad", "id": ad, "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:01:00Z",
                       "granularity": "minute", "group_by": [], "window": null, "tz": "Europe/Berlin" },
            "rows": [{ "start": "2026-01-02T01:00:00+01:00", "gross_clicks": 4, "clicks": 2, "invalid_clicks": 2,
                       "invalid_by_verdict": invalid, "final": false }],
            "totals": { "gross_clicks": 4, "clicks": 2, "invalid_clicks": 2, "invalid_click_rate": 0.5,
                        "invalid_by_verdict": invalid,
                        "peak_minute": { "start": "2026-01-02T01:00:00+01:00", "clicks": 2 } },
            "meta": { "final_until": null, "as_of": "2026-01-02T00:00:30Z", "state": "live",
                      "states": ["open"], "next_cursor": null },
        })
    );
    let grouped = world
        .ask("GET", &format!("{path}&group_by=device"), None)
        .await
        .json();
    assert_eq!(
        grouped["rows"],
        json!([{ "start": "2026-01-02T01:00:00+01:00", "device": "desktop", "clicks": 2, "final": false }])
    );
}

#[tokio::test]
async fn every_entity_has_its_counts() {
    let (world, ad, placement) = clicked().await;
    for (path, entity, id, gross) in [
        (format!("ads/{ad}/metrics"), "ad", Some(&*ad), 4),
        ("campaigns/1009/metrics".to_owned(), "campaign", Some("1009"), 4),
        ("advertisers/9/metrics".to_owned(), "advertiser", Some("9"), 4),
        // A forged token names no placement.
        (
            format!("placements/{placement}/metrics"),
            "placement",
            Some(&*placement),
            3,
        ),
        ("metrics/total".to_owned(), "total", None, 4),
    ] {
        let answer = world.ask("GET", &format!("/v1/{path}?{DAY}"), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        let page = answer.json();
        assert_eq!(page["query"]["entity"], entity);
        assert_eq!(page["query"]["id"].as_str(), id);
        assert_eq!(page["query"]["granularity"], "hour");
        assert_eq!(page["totals"]["gross_clicks"], gross, "{path}");
        assert_eq!(page["totals"]["clicks"], 2, "{path}");
        assert_eq!(page["rows"].as_array().unwrap().len(), 25, "{path}");
    }
    for nobodys in ["ads/1/metrics", "campaigns/1/metrics", "placements/1/metrics"] {
        world
            .ask("GET", &format!("/v1/{nobodys}?{DAY}"), None)
            .await
            .problem(404, "not-found");
    }
    world
        .ask("GET", &format!("/v1/placements/top/metrics?{DAY}"), None)
        .await
        .problem(400, "invalid-parameter");
}

#[tokio::test]
async fn csv_comes_when_it_is_preferred_or_asked_for() {
    let (world, ad, _) = clicked().await;
    let path =
        format!("/v1/ads/{ad}/metrics?from=2026-01-01T23:59:00Z&to=2026-01-02T00:01:00Z&granularity=minute");
    let names = "start,gross_clicks,clicks,invalid_clicks,invalid_prefetch,invalid_missing_token,invalid_bad_token,\
                 invalid_expired_token,invalid_inactive_ad,invalid_bot,invalid_rate_limited,invalid_duplicate,final";
    let rows = [
        "2026-01-01T23:59:00Z,0,0,0,0,0,0,0,0,0,0,0,false",
        "2026-01-02T00:00:00Z,4,2,2,0,0,1,0,0,0,0,1,false",
    ];
    let ask = async |accept: &str, more: &str| {
        let asked = request("GET", &format!("{path}{more}"), Some(&world.admin), None);
        let answer = world.send(with(asked, "accept", accept)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header("vary"), Some("accept, authorization, cookie"));
        answer
    };
    let csv = "text/csv; charset=utf-8";
    for (accept, more, media_type) in [
        ("text/csv", "", csv),
        ("*/*", "", "application/json"),
        ("text/csv;q=0.5, application/json", "", "application/json"),
        ("application/json", "&format=csv", csv),
        ("text/csv", "&format=json", "application/json"),
    ] {
        let answer = ask(accept, more).await;
        assert_eq!(answer.header("content-type"), Some(media_type), "{accept} {more}");
        if media_type == csv {
            assert_eq!(answer.text(), format!("{names}\n{}\n{}\n", rows[0], rows[1]));
            assert_eq!(answer.header("clickledger-next-cursor"), None);
        }
    }
    let first = ask("text/csv", "&limit=1").await;
    assert_eq!(first.text(), format!("{names}\n{}\n", rows[0]));
    let cursor = first.header("clickledger-next-cursor").unwrap().to_owned();
    let second = ask("text/csv", &format!("&limit=1&cursor={cursor}")).await;
    assert_eq!(second.text(), format!("{}\n", rows[1]));
    assert_eq!(second.header("clickledger-next-cursor"), None);
}

#[tokio::test]
async fn pages_and_windows_are_passed_through() {
    let (world, ad, _) = clicked().await;
    let path = format!(
        "/v1/ads/{ad}/metrics?from=2026-01-02T00:00:00Z&to=2026-01-02T00:01:00Z&granularity=minute&window=15m"
    );
    let page = world.ask("GET", &path, None).await.json();
    assert_eq!(page["query"]["window"], "15m");
    let (mut rows, mut cursor) = (Vec::<Value>::new(), String::new());
    loop {
        let page = world
            .ask(
                "GET",
                &format!("/v1/ads/{ad}/metrics?{DAY}&limit=10{cursor}"),
                None,
            )
            .await
            .json();
        rows.extend(page["rows"].as_array().unwrap().clone());
        match page["meta"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let whole = world
        .ask("GET", &format!("/v1/ads/{ad}/metrics?{DAY}"), None)
        .await
        .json();
    assert_eq!(json!(rows), whole["rows"]);
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_by_its_parameter() {
    let (world, ad, _) = clicked().await;
    let ask = async |query: &str| {
        world
            .ask("GET", &format!("/v1/ads/{ad}/metrics?{query}"), None)
            .await
    };
    for (query, parameter) in [
        ("to=2026-01-02T00:00:00Z", "from"),
        ("from=2026-01-02T00:00:00Z", "to"),
        ("", "from"),
        ("from=yesterday&to=2026-01-02T00:00:00Z", "from"),
        ("from=2026-01-01&to=2026-01-02T00:00:00Z", "from"),
        ("from=2026-01-01T00:00:00&to=2026-01-02T00:00:00Z", "from"),
        ("from=2026-01-01T00:00:30Z&to=2026-01-02T00:00:00Z", "from"),
        ("from=1999-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", "from"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "to"),
        ("from=2026-01-01T00:00:00Z&to=2026-01-02T00:06:00Z", "to"),
        (&format!("{DAY}&granularity=second"), "granularity"),
        (&format!("{DAY}&tz=Mars/Olympus"), "tz"),
        (&format!("{DAY}&tz=../../etc/passwd"), "tz"),
        (&format!("{DAY}&window=0m"), "window"),
        (&format!("{DAY}&window=7m"), "window"),
        (&format!("{DAY}&limit=0"), "limit"),
        (&format!("{DAY}&limit=10001"), "limit"),
        (&format!("{DAY}&limit=99999999999999999999"), "limit"),
        (&format!("{DAY}&cursor=x"), "cursor"),
        (&format!("{DAY}&format=xml"), "format"),
        (&format!("{DAY}&groupby=device"), "groupby"),
        (&format!("{DAY}&tz=UTC&tz=UTC"), "tz"),
        (&format!("{DAY}&{DAY}"), "from"),
    ] {
        ask(query).await.problem_with(400, "invalid-parameter", parameter);
    }
    for (query, parameter) in [
        ("&device=phone", "device"),
        ("&device=", "device"),
        ("&device=mobile,mobile", "device"),
        ("&device=mobile%20", "device"),
        ("&device=mobile&device=tablet", "device"),
        ("&country=de", "country"),
        ("&country=DE,XX", "country"),
        ("&country=DE,", "country"),
        ("&country=%00%00", "country"),
        ("&metrics=", "metrics"),
        ("&metrics=cost", "metrics"),
        ("&metrics=clicks,clicks", "metrics"),
        ("&metrics=peak_minute", "metrics"),
        ("&metrics=gross_clicks&device=mobile", "metrics"),
        ("&metrics=invalid_clicks&group_by=device", "metrics"),
        ("&order=clicks", "order"),
        ("&order=-clicks", "order"),
        ("&order=-clicks&granularity=total", "order"),
        ("&order=-clicks&group_by=device", "order"),
        ("&compare=last_week", "compare"),
        ("&compare=previous_year&cursor=x", "compare"),
        ("&compare=previous_year&format=csv", "compare"),
        ("&granularity=total&window=1d", "window"),
        (
            "&granularity=total&group_by=device&order=-clicks&cursor=x",
            "cursor",
        ),
    ] {
        ask(&format!("{DAY}{query}"))
            .await
            .problem_with(400, "invalid-parameter", parameter);
    }
    ask("from=2000-01-01T00:00:00Z&to=2000-01-02T00:00:00Z&compare=previous_period")
        .await
        .problem_with(400, "invalid-parameter", "compare");
    ask(&format!("{DAY}&group_by=verdict&device=mobile"))
        .await
        .problem(400, "unsupported-breakdown");
    for group_by in [
        "ad",
        "ad,device",
        "placement",
        "device,verdict",
        "device,device",
        "x",
        "device,",
        "country;drop",
    ] {
        ask(&format!("{DAY}&group_by={group_by}"))
            .await
            .problem(400, "unsupported-breakdown");
    }
    for (from, granularity) in [
        ("2025-11-01", "minute"),
        ("2024-12-01", "hour"),
        ("2010-01-01", "day"),
        ("2010-01-01", "total"),
    ] {
        ask(&format!(
            "from={from}T00:00:00Z&to=2026-01-02T00:00:00Z&granularity={granularity}"
        ))
        .await
        .problem(422, "range-too-large");
    }
    let two = ask("from=x&to=y&limit=z").await;
    for parameter in ["from", "to", "limit"] {
        two.problem_with(400, "invalid-parameter", parameter);
    }
}

#[tokio::test]
async fn the_running_minute_may_be_asked_for_in_any_offset() {
    let (world, ad, _) = clicked().await;
    let path = format!(
        "/v1/ads/{ad}/metrics?from=2026-01-02T05:45:00%2B05:45&to=2026-01-01T20:31:00-03:30&granularity=minute"
    );
    let answer = world.ask("GET", &path, None).await;
    assert_eq!(answer.json()["totals"]["clicks"], 2, "{}", answer.text());
}

#[tokio::test]
async fn filters_choices_and_orders_are_passed_through_and_echoed() {
    let (world, ad, _) = clicked().await;
    let ask = async |path: &str, query: &str| {
        let answer = world
            .ask("GET", &format!("/v1/{path}/metrics?{DAY}{query}"), None)
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    };
    let page = ask(
        &format!("ads/{ad}"),
        "&granularity=total&device=tv,desktop&country=ZZ,DE&metrics=clicks&compare=previous_period&limit=5",
    )
    .await;
    assert_eq!(
        page["query"],
        json!({ "entity": "ad", "id": ad, "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:01:00Z",
                "granularity": "total", "group_by": [], "window": null, "tz": "UTC", "device": ["desktop", "tv"],
                "country": ["DE", "ZZ"], "metrics": ["clicks"], "compare": "previous_period", "limit": 5 })
    );
    assert_eq!(
        page["rows"],
        json!([{ "start": "2026-01-01T00:00:00Z", "clicks": 2, "final": false }])
    );
    assert_eq!(page["totals"], json!({ "clicks": 2 }));
    assert_eq!(page["comparison"]["from"], "2025-12-30T23:59:00Z");
    assert_eq!(page["comparison"]["to"], "2026-01-01T00:00:00Z");
    assert_eq!(page["comparison"]["totals"], json!({ "clicks": 0 }));
    assert_eq!(
        ask(&format!("ads/{ad}"), "&device=mobile").await["totals"],
        json!({ "clicks": 0, "peak_minute": null })
    );
    for owner in ["advertisers/9", "campaigns/1009"] {
        let page = ask(owner, "&granularity=total&group_by=ad&order=-clicks").await;
        assert_eq!(
            page["rows"],
            json!([{ "start": "2026-01-01T00:00:00Z", "ad": ad, "gross_clicks": 4, "clicks": 2, "invalid_clicks": 2,
                     "invalid_by_verdict": { "duplicate": 1, "bad_token": 1 }, "final": false }])
        );
        assert_eq!(page["query"]["order"], "-clicks");
        assert_eq!(page["query"]["group_by"], json!(["ad"]));
    }
}

#[tokio::test]
async fn advertisers_and_campaigns_that_have_ads_are_listed_page_by_page() {
    let world = World::new().await;
    for advertiser in [8, 9, 9, 10] {
        world.ad(advertiser).await;
    }
    let list = async |path: &str, key: &str| {
        let answer = world.send(request("GET", path, Some(key), None)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    };
    let campaign = |advertiser: u64, ads: u64| json!({ "campaign_id": (advertiser + 1000).to_string(), "advertiser_id": advertiser.to_string(), "ads": ads });
    let advertiser =
        |advertiser: u64, ads: u64| json!({ "advertiser_id": advertiser.to_string(), "ads": ads });
    let all = list("/v1/advertisers", &world.admin).await;
    assert_eq!(
        all,
        json!({ "items": [advertiser(8, 1), advertiser(9, 2), advertiser(10, 1)], "next_cursor": null })
    );
    let first = list("/v1/campaigns?limit=2", &world.admin).await;
    assert_eq!(
        first,
        json!({ "items": [campaign(8, 1), campaign(9, 2)], "next_cursor": "1009" })
    );
    let rest = list("/v1/campaigns?limit=2&cursor=1009", &world.admin).await;
    assert_eq!(rest, json!({ "items": [campaign(10, 1)], "next_cursor": null }));
    let of_9 = json!({ "items": [campaign(9, 2)], "next_cursor": null });
    assert_eq!(list("/v1/campaigns?advertiser_id=9", &world.admin).await, of_9);
    let key = world.advertiser(9, true).await;
    assert_eq!(list("/v1/campaigns", &key).await, of_9);
    let own = json!({ "items": [advertiser(9, 2)], "next_cursor": null });
    assert_eq!(list("/v1/advertisers", &key).await, own);
    let none = json!({ "items": [], "next_cursor": null });
    assert_eq!(list("/v1/advertisers?cursor=9", &key).await, none);
    let other = world.advertiser(11, true).await;
    for path in ["/v1/advertisers", "/v1/campaigns"] {
        assert_eq!(list(path, &other).await, none);
    }
    for (path, parameter) in [
        ("/v1/advertisers?cursor=x", "cursor"),
        ("/v1/advertisers?limit=0", "limit"),
        ("/v1/advertisers?advertiser_id=9", "advertiser_id"),
        ("/v1/campaigns?advertiser_id=x", "advertiser_id"),
        ("/v1/campaigns?cursor=-1", "cursor"),
    ] {
        let answer = world.ask("GET", path, None).await;
        answer.problem_with(400, "invalid-parameter", parameter);
    }
}

#[tokio::test]
async fn many_entities_are_asked_for_in_one_question_and_each_is_judged_alone() {
    let (world, ad, placement) = clicked().await;
    let foreign = world.ad(8).await;
    let entity = |entity: &str, id: &str| json!({ "entity": entity, "id": id });
    let body = |entities: Vec<Value>| {
        json!({ "entities": entities, "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:01:00Z",
                "granularity": "total", "metrics": ["clicks", "gross_clicks"] })
    };
    let entities = vec![
        entity("ad", &ad),
        entity("campaign", "1009"),
        entity("ad", &foreign),
        entity("ad", "1"),
        entity("placement", &placement),
        json!({ "entity": "total" }),
        entity("advertiser", "9"),
    ];
    let ask = async |key: &str, body: Value| {
        world
            .send(request("POST", "/v1/metrics/query", Some(key), Some(body)))
            .await
    };
    let answer = ask(&world.admin, body(entities.clone())).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let results = answer.json()["results"].as_array().unwrap().clone();
    let counted: Vec<Option<u64>> = results
        .iter()
        .map(|result| result["totals"]["gross_clicks"].as_u64())
        .collect();
    assert_eq!(
        counted,
        [Some(4), Some(4), Some(0), None, Some(3), Some(4), Some(4)]
    );
    let alone =
        format!("/v1/ads/{ad}/metrics?{DAY}&granularity=total&metrics=clicks,gross_clicks&limit=1428");
    let mut alone = world.ask("GET", &alone, None).await.json();
    alone["entity"] = json!("ad");
    alone["id"] = json!(ad);
    assert_eq!(results[0], alone);

    // An advertiser's key: another's ad looks exactly as one that is not there.
    let key = world.advertiser(9, true).await;
    let results = ask(&key, body(entities)).await.json()["results"].clone();
    let problem = |n: usize| {
        let mut problem = results[n]["problem"].clone();
        assert!(problem["request_id"].take().is_string(), "{n}: {results}");
        assert!(results[n]["rows"].is_null());
        problem
    };
    assert_eq!(problem(2), problem(3));
    assert_eq!(problem(2)["type"], "/problems/not-found");
    for n in [4, 5] {
        assert_eq!(problem(n)["type"], "/problems/forbidden");
    }
    for n in [0, 1, 6] {
        assert_eq!(results[n]["totals"], json!({ "gross_clicks": 4, "clicks": 2 }));
    }
    // What cannot be broken down, or is too long for its ads, is a problem of its own too.
    let mut by_ad = body(vec![entity("ad", &ad), entity("campaign", "1009")]);
    by_ad["group_by"] = json!(["ad"]);
    let results = ask(&key, by_ad).await.json()["results"].clone();
    assert_eq!(results[0]["problem"]["type"], "/problems/unsupported-breakdown");
    assert_eq!(results[1]["rows"][0]["ad"], json!(ad));
}

#[tokio::test]
async fn a_question_that_is_wrong_itself_is_refused_as_a_whole() {
    let (world, ad, _) = clicked().await;
    let good = json!({ "entities": [{ "entity": "ad", "id": ad }], "from": "2026-01-01T00:00:00Z",
                       "to": "2026-01-02T00:00:00Z" });
    let ask = async |change: Value| {
        let mut body = good.clone();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        world.ask("POST", "/v1/metrics/query", Some(body)).await
    };
    assert_eq!(ask(json!({})).await.status, StatusCode::OK);
    let many: Vec<Value> = (1..=101)
        .map(|id: u64| json!({ "entity": "ad", "id": id.to_string() }))
        .collect();
    for (change, parameter) in [
        (json!({ "entities": [] }), "entities"),
        (json!({ "entities": many }), "entities"),
        (json!({ "entities": [{ "entity": "ad" }] }), "entities[0].id"),
        (
            json!({ "entities": [{ "entity": "ad", "id": "x" }] }),
            "entities[0].id",
        ),
        (
            json!({ "entities": [{ "entity": "cat", "id": "1" }] }),
            "entities[0].entity",
        ),
        (
            json!({ "entities": [{ "entity": "total", "id": "1" }] }),
            "entities[0].id",
        ),
        (json!({ "entities": [["ad", "1"]] }), "entities[0]"),
        (json!({ "from": null }), "from"),
        (json!({ "from": 5 }), "from"),
        (json!({ "to": "tomorrow" }), "to"),
        (json!({ "to": "2026-01-01T00:00:00Z" }), "to"),
        (json!({ "granularity": "week" }), "granularity"),
        (json!({ "device": "mobile" }), "device"),
        (json!({ "device": [] }), "device"),
        (json!({ "device": ["mobile,tablet", "mobile"] }), "device"),
        (json!({ "country": ["XX"] }), "country"),
        (json!({ "metrics": ["cost"] }), "metrics"),
        (json!({ "order": "-clicks" }), "order"),
        (json!({ "compare": "x" }), "compare"),
        (json!({ "limit": 0 }), "limit"),
        (json!({ "limit": 10_001 }), "limit"),
        (json!({ "limit": -1 }), "limit"),
        (json!({ "tz": "Mars" }), "tz"),
        (json!({ "window": "7" }), "window"),
        (json!({ "cursor": "x" }), "cursor"),
        (json!({ "format": "csv" }), "format"),
    ] {
        let answer = ask(change.clone()).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{change}: {}",
            answer.text()
        );
        answer.problem_with(400, "invalid-body", parameter);
    }
    ask(json!({ "group_by": ["ad", "device"] }))
        .await
        .problem(400, "unsupported-breakdown");
    world
        .ask("GET", "/v1/metrics/query", None)
        .await
        .problem(405, "method-not-allowed");
    world
        .ask("POST", "/v1/metrics/query?from=x", Some(good.clone()))
        .await
        .problem_with(400, "invalid-parameter", "from");
    world.catalog.set(Mode::Down);
    ask(json!({})).await.problem(503, "unavailable");
}

/// Three hours before now, sealed: of advertiser 9 and of 8 by these placements, by their ids.
async fn sealed_by_placement(world: &World, clicks: &[(u64, u64, u64)], version: u64) {
    let hour = Hour(Hour::of(NOW_MS).0 - 3);
    let counters = |count| {
        let key = CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ);
        Counters::from_iter([(key, count)])
    };
    let mut sums: BTreeMap<Entity, Counters> = BTreeMap::new();
    for (advertiser, placement, count) in clicks {
        let (advertiser, placement) = (AdvertiserId(*advertiser), PlacementId(*placement));
        for entity in [
            Entity::Advertiser(advertiser),
            Entity::Placement(placement),
            Entity::AdvertiserPlacement(advertiser, placement),
        ] {
            sums.entry(entity).or_default().merge(&counters(*count));
        }
    }
    let item = |(entity, counters)| SealedHour {
        entity,
        hour,
        version,
        minutes: vec![(5, counters)],
    };
    let items = sums.into_iter().map(item).collect();
    world.seals.write_hours(hour, version, 0, items).await.unwrap();
    let manifest = Manifest {
        state: HourState::Sealed,
        version,
        ..Manifest::open(hour)
    };
    assert!(world.seals.flip(&manifest).await.unwrap());
}

#[tokio::test]
async fn an_advertisers_sealed_clicks_are_broken_down_by_placement() {
    let (world, ad, placement) = clicked().await;
    let live: u64 = placement.parse().unwrap();
    sealed_by_placement(
        &world,
        &[(9, 5, 2), (9, 6, 7), (9, live, 1), (8, 5, 40), (8, 77, 1)],
        3,
    )
    .await;
    let path = format!(
        "/v1/advertisers/9/metrics?{DAY}&group_by=placement&granularity=total&order=-clicks&metrics=clicks"
    );
    let rows = |page: &Value| -> Vec<(String, u64)> {
        let rows = page["rows"].as_array().unwrap().iter();
        rows.map(|row| {
            assert_eq!(row["final"], false, "the day is not over: {row}");
            let placement = row["placement"].as_str().unwrap().to_owned();
            (placement, row["clicks"].as_u64().unwrap())
        })
        .collect()
    };
    let expected = [("6".to_owned(), 7), ("5".to_owned(), 2), (placement.clone(), 1)];
    let own = world.advertiser(9, true).await;
    for key in [&world.admin, &own] {
        let answer = world.send(request("GET", &path, Some(key), None)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let page = answer.json();
        assert_eq!(rows(&page), expected);
        // Two were clicked in this minute, which is not sealed.
        assert_eq!(page["totals"]["clicks"], 12);
        assert_eq!(page["query"]["group_by"], json!(["placement"]));
        assert!(!answer.text().contains("\"77\""), "a rival's");
    }
    // Another advertiser's, as if it were not there.
    let foreign = world.advertiser(8, true).await;
    world
        .send(request("GET", &path, Some(&foreign), None))
        .await
        .problem(404, "not-found");

    let hours = format!("/v1/advertisers/9/metrics?{DAY}&group_by=placement&limit=2");
    let page = world.ask("GET", &hours, None).await.json();
    let cursor = page["meta"]["next_cursor"].as_str().unwrap();
    let next = world
        .ask("GET", &format!("{hours}&cursor={cursor}"), None)
        .await
        .json();
    let all = [
        page["rows"].as_array().unwrap().clone(),
        next["rows"].as_array().unwrap().clone(),
    ]
    .concat();
    let placements: Vec<&str> = all.iter().map(|row| row["placement"].as_str().unwrap()).collect();
    assert_eq!(placements, ["5", "6", placement.as_str()]);
    assert!(
        all.iter()
            .all(|row| row["start"] == "2026-01-01T21:00:00Z" && row["final"] == true)
    );
    assert_eq!(
        all[1],
        json!({ "start": "2026-01-01T21:00:00Z", "placement": "6", "gross_clicks": 7, "clicks": 7,
                               "invalid_clicks": 0, "invalid_by_verdict": {}, "final": true })
    );

    let csv = world.ask("GET", &format!("{path}&format=csv"), None).await.text();
    assert!(
        csv.starts_with("start,placement,clicks,final\n2026-01-01T00:00:00Z,6,7,false\n"),
        "{csv}"
    );

    for (device, count) in [("mobile", 3), ("tablet", 0)] {
        let page = world
            .ask("GET", &format!("{path}&device={device}"), None)
            .await
            .json();
        assert_eq!(page["rows"].as_array().unwrap().len(), count, "{device}");
    }
    for entity in [
        format!("ads/{ad}"),
        "campaigns/1009".to_owned(),
        format!("placements/{placement}"),
    ] {
        let answer = world
            .ask(
                "GET",
                &format!("/v1/{entity}/metrics?{DAY}&group_by=placement"),
                None,
            )
            .await;
        let problem = answer.problem(400, "unsupported-breakdown");
        assert_eq!(
            problem["detail"],
            "only clicks of an advertiser can be broken down by placement"
        );
    }
    for group_by in ["placement,device", "ad,placement"] {
        let path = format!("/v1/advertisers/9/metrics?{DAY}&group_by={group_by}");
        world
            .ask("GET", &path, None)
            .await
            .problem(400, "unsupported-breakdown");
    }
    // A pair is nothing that can be asked for.
    for id in ["9%2Fp%235", "v%239%2Fp%235", "9%2F5"] {
        let path = format!("/v1/advertisers/{id}/metrics?{DAY}");
        let answer = world.ask("GET", &path, None).await;
        answer.problem_with(400, "invalid-parameter", "advertiser_id");
    }
    let pair = |entity: &str, id: &str| {
        json!({ "entities": [{ "entity": entity, "id": id }], "from": "2026-01-01T00:00:00Z",
                "to": "2026-01-02T00:00:00Z" })
    };
    for (entity, id) in [
        ("advertiser-placement", "9"),
        ("advertiser", "9/5"),
        ("advertiser", "9/p#5"),
    ] {
        let answer = world
            .ask("POST", "/v1/metrics/query", Some(pair(entity, id)))
            .await;
        answer.problem(400, "invalid-body");
    }

    let mut asked = pair("advertiser", "9");
    asked["group_by"] = json!(["placement"]);
    asked["granularity"] = json!("total");
    asked["entities"] = json!([{ "entity": "advertiser", "id": "9" }, { "entity": "ad", "id": ad }, { "entity": "advertiser", "id": "8" }]);
    let answer = world
        .send(request("POST", "/v1/metrics/query", Some(&own), Some(asked)))
        .await;
    let results = answer.json()["results"].clone();
    assert_eq!(results[0]["rows"].as_array().unwrap().len(), 3, "{results}");
    assert_eq!(results[1]["problem"]["type"], "/problems/unsupported-breakdown");
    assert_eq!(results[2]["problem"]["type"], "/problems/not-found");
}

/// Seals the hour before, in which nothing was clicked.
async fn seal_the_hour_before(world: &World, state: HourState, revision: u64, version: u64) {
    let hour = Hour::of(NOW_MS - HOUR_MS);
    let manifest = Manifest {
        state,
        version,
        revision,
        ..Manifest::open(hour)
    };
    assert!(world.seals.flip(&manifest).await.unwrap());
}

#[tokio::test]
async fn sealed_counts_are_answered_anew_only_when_they_changed() {
    let (world, ad, _) = clicked().await;
    let path = format!("/v1/ads/{ad}/metrics?from=2026-01-01T23:00:00Z&to=2026-01-02T00:00:00Z");
    let ask = async |path: &str, key: &str, tag: Option<&str>| {
        let mut asked = request("GET", path, Some(key), None);
        if let Some(tag) = tag {
            asked = with(asked, "if-none-match", tag);
        }
        world.send(asked).await
    };
    let live = ask(&path, &world.admin, Some("*")).await;
    assert_eq!((live.status, live.header("etag")), (StatusCode::OK, None));
    assert_eq!(live.header("cache-control"), Some("no-store"));

    seal_the_hour_before(&world, HourState::Sealed, 0, 3).await;
    let sealed = ask(&path, &world.admin, None).await;
    assert_eq!(sealed.status, StatusCode::OK);
    assert_eq!(sealed.header("cache-control"), Some("private, no-cache"));
    let tag = sealed.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
    for (given, status) in [
        (tag.as_str(), 304),
        (tag.trim_start_matches("W/"), 304),
        ("*", 304),
        (&format!("\"other\", {tag}"), 304),
        ("\"other\"", 200),
        ("", 200),
        ("nonsense", 200),
    ] {
        let again = ask(&path, &world.admin, Some(given)).await;
        assert_eq!(again.status.as_u16(), status, "{given}");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
        assert_eq!(again.header("vary"), Some("accept, authorization, cookie"));
        assert_eq!(again.body.is_empty(), status == 304);
    }
    // CSV is another representation, a key that may not see it gets none, and what runs on is not sealed.
    let csv = ask(&format!("{path}&format=csv"), &world.admin, Some(&tag)).await;
    assert_eq!(csv.status, StatusCode::OK);
    assert_ne!(csv.header("etag"), Some(tag.as_str()));
    let foreign = world.advertiser(8, true).await;
    ask(&path, &foreign, Some(&tag)).await.problem(404, "not-found");
    let running = path.replace("to=2026-01-02T00:00", "to=2026-01-02T00:01");
    assert_eq!(ask(&running, &world.admin, None).await.header("etag"), None);

    seal_the_hour_before(&world, HourState::Sealed, 1, 4).await;
    let restated = ask(&path, &world.admin, Some(&tag)).await;
    assert_eq!(restated.status, StatusCode::OK);
    assert_ne!(restated.header("etag"), Some(tag.as_str()));
    seal_the_hour_before(&world, HourState::Closed, 2, 4).await;
    let closed = ask(&path, &world.admin, None).await;
    assert_eq!(closed.header("cache-control"), Some("private, max-age=86400"));
    assert!(closed.header("etag").is_some());
}
