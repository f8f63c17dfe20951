//! `/v1/ads`: made, read, listed, changed.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, request, with};

#[tokio::test]
async fn an_ad_is_made_read_and_changed() {
    let world = World::new().await;
    let body = json!({
        "advertiser_id": "9", "campaign_id": "12", "redirect_url": "HTTPS://Shop.Example", "title": "Bücher",
        "image_url": "https://shop.example/a.png", "fan_out": 4,
    });
    let made = world.ask("POST", "/v1/ads", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let mut ad = made.json();
    let id = ad["ad_id"].as_str().unwrap().to_owned();
    assert!(id.parse::<i64>().is_ok_and(|id| id > 0));
    assert_eq!(made.header("location"), Some(&*format!("ads/{id}")));
    assert_eq!(made.header("etag"), Some("\"1\""));
    let expected = json!({
        "ad_id": id, "campaign_id": "12", "advertiser_id": "9", "redirect_url": "https://shop.example/",
        "title": "Bücher", "image_url": "https://shop.example/a.png", "status": "active", "fan_out": 4, "version": 1,
        "created_at": "2026-01-02T00:00:30Z",
    });
    assert_eq!(ad, expected);
    let path = format!("/v1/ads/{id}");
    let read = world.ask("GET", &path, None).await;
    assert_eq!(read.json(), expected);
    assert_eq!(read.header("etag"), Some("\"1\""));
    assert_eq!(read.header("cache-control"), Some("no-store"));

    let patch = json!({ "title": null, "redirect_url": "https://other.example/x", "status": "paused" });
    let mut asked = request("PATCH", &path, Some(&world.admin), Some(patch));
    asked.headers_mut().insert(
        "content-type",
        "application/merge-patch+json; charset=utf-8".parse().unwrap(),
    );
    let changed = world.send(asked).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    assert_eq!(changed.header("etag"), Some("\"2\""));
    ad.as_object_mut().unwrap().remove("title");
    ad["redirect_url"] = json!("https://other.example/x");
    ad["status"] = json!("paused");
    ad["version"] = json!(2);
    assert_eq!(changed.json(), ad);
    assert_eq!(world.ask("GET", &path, None).await.json(), ad);
    // Nothing to change is no change.
    let same = world
        .ask("PATCH", &path, Some(json!({ "status": "paused" })))
        .await;
    assert_eq!(same.header("etag"), Some("\"2\""));
    let same = world.ask("PATCH", &path, Some(json!({}))).await;
    assert_eq!(same.header("etag"), Some("\"2\""));
}

#[tokio::test]
async fn a_change_that_is_meant_for_another_version_is_refused() {
    let world = World::new().await;
    let path = format!("/v1/ads/{}", world.ad(9).await);
    let change = async |tag: &str, title: &str| {
        let asked = request(
            "PATCH",
            &path,
            Some(&world.admin),
            Some(json!({ "title": title })),
        );
        world.send(with(asked, "if-match", tag)).await
    };
    assert_eq!(change("\"1\"", "a").await.header("etag"), Some("\"2\""));
    change("\"1\"", "b").await.problem(412, "version-conflict");
    change("\"3\"", "b").await.problem(412, "version-conflict");
    change("W/\"2\"", "b").await.problem(412, "version-conflict");
    change("2", "b")
        .await
        .problem_with(400, "invalid-parameter", "if-match");
    assert_eq!(world.ask("GET", &path, None).await.json()["title"], "a");
    assert_eq!(change("\"1\", \"2\"", "c").await.header("etag"), Some("\"3\""));
    assert_eq!(change("*", "d").await.header("etag"), Some("\"4\""));
}

#[tokio::test]
async fn what_cannot_be_accepted_is_named_field_by_field() {
    let world = World::new().await;
    let good = json!({ "advertiser_id": "9", "campaign_id": "12", "redirect_url": "https://shop.example/" });
    let path = format!("/v1/ads/{}", world.ad(9).await);
    for (field, value) in [
        ("advertiser_id", json!("x")),
        ("advertiser_id", json!(9)),
        ("campaign_id", json!("01")),
        ("title", json!("")),
        ("title", json!(7)),
        ("image_url", json!("javascript:alert(1)")),
        ("status", json!("running")),
        ("fan_out", json!(3)),
        ("fan_out", json!(2048)),
        ("fan_out", json!(0)),
        ("fan_out", json!(-1)),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let made = world.ask("POST", "/v1/ads", Some(body)).await;
        made.problem_with(400, "invalid-body", field);
        let changed = world.ask("PATCH", &path, Some(json!({ field: value }))).await;
        changed.problem_with(400, "invalid-body", field);
    }
    for field in [
        "advertiser_id",
        "campaign_id",
        "redirect_url",
        "status",
        "fan_out",
    ] {
        let changed = world
            .ask("PATCH", &path, Some(json!({ field: Value::Null })))
            .await;
        changed.problem_with(400, "invalid-body", field);
    }
    for field in ["ad_id", "version", "created_at", "x"] {
        let changed = world.ask("PATCH", &path, Some(json!({ field: "1" }))).await;
        changed.problem(400, "invalid-body");
    }
    for missing in ["advertiser_id", "campaign_id", "redirect_url"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(missing);
        let made = world.ask("POST", "/v1/ads", Some(body)).await;
        let problem = made.problem(400, "invalid-body");
        assert!(problem["detail"].as_str().unwrap().contains(missing), "{problem}");
    }
    let many = json!({
        "advertiser_id": "9", "campaign_id": "12", "redirect_url": "https://shop.example/", "title": "", "image_url": "x",
    });
    let made = world.ask("POST", "/v1/ads", Some(many)).await;
    made.problem_with(400, "invalid-body", "title");
    made.problem_with(400, "invalid-body", "image_url");
}

#[tokio::test]
async fn ads_are_listed_page_by_page_and_by_whose_they_are() {
    let world = World::new().await;
    let (mut nine, mut all) = (Vec::new(), Vec::new());
    for advertiser in [9, 8, 9, 9, 8, 9] {
        world.clock.advance(1);
        let ad = world.ad(advertiser).await;
        if advertiser == 9 {
            nine.push(ad.clone());
        }
        all.push(ad);
    }
    let list = async |key: &str, query: &str| {
        let (mut ads, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/ads?limit=2{query}{cursor}");
            let page = world.send(request("GET", &path, Some(key), None)).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.text());
            let page = page.json();
            assert!(page["items"].as_array().unwrap().len() <= 2);
            ads.extend(
                page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|ad| ad["ad_id"].as_str().unwrap().to_owned()),
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ads,
            }
        }
    };
    // Ids rise with time, so the list is in the order in which ads were made.
    assert_eq!(list(&world.admin, "").await, all);
    assert_eq!(list(&world.admin, "&advertiser_id=9").await, nine);
    assert_eq!(list(&world.admin, "&campaign_id=1009").await, nine);
    assert_eq!(
        list(&world.admin, "&campaign_id=1009&advertiser_id=8").await,
        Vec::<String>::new()
    );
    let key = world.advertiser(9, true).await;
    assert_eq!(list(&key, "").await, nine);
    let patch = json!({ "status": "archived" });
    world
        .ask("PATCH", &format!("/v1/ads/{}", nine[1]), Some(patch))
        .await;
    let old = nine.remove(1);
    assert_eq!(list(&key, "").await, nine);
    assert_eq!(list(&key, "&archived=false").await, nine);
    nine.insert(1, old);
    assert_eq!(list(&key, "&archived=true").await, nine);
    for (query, parameter) in [
        ("archived=1", "archived"),
        ("advertiser_id=x", "advertiser_id"),
        ("campaign_id=0", "campaign_id"),
        ("cursor=x", "cursor"),
        ("limit=1001", "limit"),
        ("status=active", "status"),
        ("advertiser_id=9&advertiser_id=9", "advertiser_id"),
    ] {
        world
            .ask("GET", &format!("/v1/ads?{query}"), None)
            .await
            .problem_with(400, "invalid-parameter", parameter);
    }
}
