//! `/v1/placements`: set up by administrators, read by everyone.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::json;
use url::Url;

use crate::world::{Mode, World, get, request, with};

#[tokio::test]
async fn a_slot_shows_an_ad_whose_link_leads_to_a_valid_click_under_any_prefix() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    let placement = world.slot("home-top", &[&ad]).await;
    let shown = world.send(get("/v1/placements/home-top")).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(shown.header("content-type"), Some("application/json"));
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    assert_eq!(shown.header("vary"), Some("accept"));
    assert_eq!(shown.header("access-control-allow-origin"), Some("*"));
    let view = shown.json();
    let token = view["impression_token"].as_str().unwrap();
    assert_eq!(
        view,
        json!({
            "slot": "home-top", "placement_id": placement, "ad_id": ad, "title": "An offer",
            "impression_token": token, "click_url": format!("../../click?adId={ad}&imp={token}"),
            "expires_at": "2026-01-03T00:00:30Z",
        })
    );
    let base = Url::parse("https://clicks.example/some/stage/v1/placements/home-top").unwrap();
    let click = base.join(view["click_url"].as_str().unwrap()).unwrap();
    assert_eq!(click.path(), "/some/stage/click");
    let answer = world
        .send(get(&format!("/click?{}", click.query().unwrap())))
        .await;
    assert_eq!(answer.status, StatusCode::FOUND);
    let record = world.recorded().await.pop().unwrap();
    assert_eq!(record.verdict.as_str(), "valid");
    assert_eq!(record.placement_id.unwrap().to_string(), placement);
}

#[tokio::test]
async fn the_fragment_is_one_anchor_whose_link_leads_to_a_valid_click() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.slot("top", &[&ad]).await;
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let shown = world
        .send(with(get("/v1/placements/top"), "accept", accept))
        .await;
    assert_eq!(shown.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(shown.header("vary"), Some("accept"));
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    let html = shown.text();
    let href = html
        .split("href=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap()
        .replace("&amp;", "&");
    assert_eq!(
        html,
        format!(
            "<a href=\"{}\" target=\"_blank\" rel=\"sponsored noopener\" data-ad=\"{ad}\"><span>An offer</span></a>\n",
            href.replace('&', "&amp;")
        )
    );
    let path = href.strip_prefix("../..").unwrap();
    assert_eq!(world.send(get(path)).await.status, StatusCode::FOUND);
    assert_eq!(world.verdicts().await, ["valid"]);
}

#[tokio::test]
async fn only_active_ads_are_shown_and_a_slot_without_one_is_404() {
    let world = World::new().await;
    let (one, two) = (world.ad(9).await, world.ad(8).await);
    world.slot("top", &[&one, &two]).await;
    world.slot("empty", &[]).await;
    let shown = async || {
        let mut counts = BTreeMap::new();
        for _ in 0..40 {
            let answer = world.send(get("/v1/placements/top")).await;
            let ad = answer.json()["ad_id"].as_str().unwrap_or("none").to_owned();
            *counts.entry(ad).or_insert(0) += 1;
        }
        counts
    };
    // One in 2^39 that it fails though it is right.
    assert_eq!(shown().await.len(), 2);
    let pause = async |ad: &str| {
        let patch = json!({ "status": "paused" });
        let answer = world.ask("PATCH", &format!("/v1/ads/{ad}"), Some(patch)).await;
        assert_eq!(answer.status, StatusCode::OK);
    };
    pause(&one).await;
    assert_eq!(shown().await.into_keys().collect::<Vec<_>>(), vec![two.clone()]);
    pause(&two).await;
    for slot in ["top", "empty", "nowhere"] {
        let answer = world.send(get(&format!("/v1/placements/{slot}"))).await;
        answer.problem(404, "not-found");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    for bad in ["Top", "a%20b", "%C3%A4", "%FF", "a_b", &"x".repeat(65)] {
        let answer = world.send(get(&format!("/v1/placements/{bad}"))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        answer.problem(400, "invalid-parameter");
    }
    world
        .send(get("/v1/placements/top?size=1"))
        .await
        .problem_with(400, "invalid-parameter", "size");
}

#[tokio::test]
async fn ads_are_shown_by_their_weight() {
    let world = World::new().await;
    let ads = [world.ad(9).await, world.ad(8).await, world.ad(7).await];
    let entries = json!({ "entries": [
        { "ad_id": ads[0], "weight": 999_999 }, { "ad_id": ads[1], "weight": 1 }, { "ad_id": ads[2], "weight": 1_000_000 },
    ]});
    world.ask("PUT", "/v1/placements/top", Some(entries)).await;
    let patch = json!({ "status": "archived" });
    world
        .ask("PATCH", &format!("/v1/ads/{}", ads[2]), Some(patch))
        .await;
    // Half of the draws fall on the archived ad and are drawn again; the light one comes once in a million.
    let mut heavy = 0;
    for _ in 0..200 {
        heavy += usize::from(world.send(get("/v1/placements/top")).await.json()["ad_id"] == *ads[0]);
    }
    assert!(heavy >= 198, "{heavy}");
}

#[tokio::test]
async fn a_placement_is_made_read_and_replaced() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    let body = json!({ "entries": [{ "ad_id": ad, "weight": 3 }], "site": "The Tidewater Post" });
    let path = "/v1/placements/top";
    let made = world.ask("PUT", path, Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!(made.header("etag"), Some("\"1\""));
    let view = made.json();
    let id = view["placement_id"].clone();
    let expected = json!({
        "slot": "top", "placement_id": id, "entries": [{ "ad_id": ad, "weight": 3 }],
        "site": "The Tidewater Post", "version": 1,
    });
    assert_eq!(view, expected);
    let read = world.ask("GET", "/v1/placements/top/entries", None).await;
    assert_eq!(read.json(), expected);
    assert_eq!(read.header("etag"), Some("\"1\""));
    assert_eq!(read.header("access-control-allow-origin"), None);
    let list = world.ask("GET", "/v1/placements", None).await.json();
    assert_eq!(list, json!({ "items": [expected], "next_cursor": null }));

    let put = async |name: &'static str, tag: &str| {
        let asked = request(
            "PUT",
            path,
            Some(&world.admin),
            Some(json!({ "entries": [{ "ad_id": ad }] })),
        );
        world.send(with(asked, name, tag)).await
    };
    put("if-none-match", "*").await.problem(412, "version-conflict");
    put("if-match", "\"2\"").await.problem(412, "version-conflict");
    let replaced = put("if-match", "\"1\"").await;
    assert_eq!(replaced.status, StatusCode::OK, "{}", replaced.text());
    assert_eq!(
        replaced.json(),
        json!({ "slot": "top", "placement_id": id, "entries": [{ "ad_id": ad, "weight": 1 }], "version": 2 })
    );
    let asked = request(
        "PUT",
        "/v1/placements/new",
        Some(&world.admin),
        Some(json!({ "entries": [] })),
    );
    world
        .send(with(asked, "if-match", "*"))
        .await
        .problem(412, "version-conflict");
    world
        .ask("GET", "/v1/placements/nowhere/entries", None)
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn entries_that_cannot_be_shown_are_refused() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    let many: Vec<_> = (0..51).map(|_| json!({ "ad_id": ad })).collect();
    for (entries, parameter) in [
        (json!([{ "ad_id": "1" }]), "entries[0].ad_id"),
        (json!([{ "ad_id": ad }, { "ad_id": ad }]), "entries[1].ad_id"),
        (json!([{ "ad_id": ad, "weight": 0 }]), "entries[0].weight"),
        (json!([{ "ad_id": ad, "weight": 1_000_001 }]), "entries[0].weight"),
        (json!([{ "ad_id": ad, "weight": -1 }]), "entries[0].weight"),
        (json!([{ "ad_id": "x" }]), "entries[0].ad_id"),
        (json!(many), "entries"),
        (json!([[ad, 1]]), "entries[0]"),
        (json!("x"), "entries"),
    ] {
        let put = world
            .ask("PUT", "/v1/placements/top", Some(json!({ "entries": entries })))
            .await;
        put.problem_with(400, "invalid-body", parameter);
    }
    world
        .send(get("/v1/placements/top"))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn other_pages_may_ask_and_a_silent_catalogue_is_503() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.slot("top", &[&ad]).await;
    let options = world
        .send(request("OPTIONS", "/v1/placements/top", None, None))
        .await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(options.header("access-control-allow-origin"), Some("*"));
    assert_eq!(options.header("access-control-allow-methods"), Some("GET"));
    world.catalog.set(Mode::Down);
    let answer = world.send(get("/v1/placements/top")).await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn a_publisher_lists_its_own_placements_without_what_they_are_sold_for() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    let ids = [world.slot("b", &[&ad]).await, world.slot("a", &[&ad]).await];
    world.slot("another", &[&ad]).await;
    let placement_ids = ids.iter().map(|id| id.parse().unwrap()).collect();
    let key = world
        .key(clickledger_core::domain::api_key::Scope::Publisher { placement_ids })
        .await;
    let list = async |path: &str| world.send(request("GET", path, Some(&key), None)).await.json();
    let own = |slot: &str, id: &str| json!({ "slot": slot, "placement_id": id, "version": 1 });
    assert_eq!(
        list("/v1/placements").await,
        json!({ "items": [own("a", &ids[1]), own("b", &ids[0])], "next_cursor": null })
    );
    assert_eq!(
        list("/v1/placements?limit=1").await,
        json!({ "items": [own("a", &ids[1])], "next_cursor": "a" })
    );
    assert_eq!(
        list("/v1/placements?limit=1&cursor=a").await,
        json!({ "items": [own("b", &ids[0])], "next_cursor": null })
    );
}
