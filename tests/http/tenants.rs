//! Who may do what: every route against every key.

use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::ids::PlacementId;
use serde_json::{Value, json};

use crate::world::{World, request};

const RANGE: &str = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";

#[tokio::test]
async fn every_route_answers_every_key_as_its_scope_says() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.ad(8).await;
    let placement = world.slot("top", &[&ad]).await;
    let other_placement = world.slot("other", &[&ad]).await;
    let publisher = async |id: &str| {
        let placement_ids = vec![id.parse::<PlacementId>().unwrap()];
        world.key(Scope::Publisher { placement_ids }).await
    };
    let revoked = world.key(Scope::Admin).await;
    let key_id = |key: &str| key.split('_').nth(1).unwrap().to_owned();
    world
        .keys
        .revoke(&key_id(&revoked).parse().unwrap())
        .await
        .unwrap();
    let (victim, rotated) = (world.advertiser(9, true).await, world.advertiser(9, true).await);
    let foreign = world.advertiser(8, false).await;
    let keys: [(&str, Option<String>); 9] = [
        ("none", None),
        ("garbage", Some("clk_x_y".to_owned())),
        ("revoked", Some(revoked)),
        ("another advertiser's", Some(foreign.clone())),
        ("read-only", Some(world.advertiser(9, true).await)),
        ("the advertiser's", Some(world.advertiser(9, false).await)),
        ("the publisher's", Some(publisher(&placement).await)),
        ("another publisher's", Some(publisher(&other_placement).await)),
        ("an administrator's", Some(world.admin.clone())),
    ];
    let new_ad =
        json!({ "advertiser_id": "9", "campaign_id": "1009", "redirect_url": "https://shop.example/" });
    let slot = json!({ "entries": [{ "ad_id": ad, "weight": 2 }] });
    let metrics = |entity: &str| format!("/v1/{entity}/metrics?{RANGE}");
    let routes: Vec<(&str, String, Option<Value>, [u16; 6])> = vec![
        (
            "POST",
            "/v1/ads".into(),
            Some(new_ad),
            [403, 403, 201, 403, 403, 201],
        ),
        ("GET", "/v1/ads".into(), None, [200, 200, 200, 403, 403, 200]),
        (
            "GET",
            format!("/v1/ads/{ad}"),
            None,
            [404, 200, 200, 403, 403, 200],
        ),
        (
            "PATCH",
            format!("/v1/ads/{ad}"),
            Some(json!({ "title": "x" })),
            [404, 403, 200, 403, 403, 200],
        ),
        (
            "GET",
            metrics(&format!("ads/{ad}")),
            None,
            [404, 200, 200, 403, 403, 200],
        ),
        (
            "GET",
            "/v1/advertisers".into(),
            None,
            [200, 200, 200, 403, 403, 200],
        ),
        (
            "GET",
            "/v1/campaigns".into(),
            None,
            [200, 200, 200, 403, 403, 200],
        ),
        (
            "GET",
            format!(
                "{}&group_by=ad&granularity=total&order=-clicks",
                metrics("campaigns/1009")
            ),
            None,
            [404, 200, 200, 403, 403, 200],
        ),
        (
            "GET",
            metrics("campaigns/1009"),
            None,
            [404, 200, 200, 403, 403, 200],
        ),
        (
            "GET",
            metrics("advertisers/9"),
            None,
            [404, 200, 200, 403, 403, 200],
        ),
        (
            "GET",
            metrics(&format!("placements/{placement}")),
            None,
            [403, 403, 403, 200, 404, 200],
        ),
        (
            "GET",
            format!("/v1/metrics/total?{RANGE}"),
            None,
            [403, 403, 403, 403, 403, 200],
        ),
        (
            "GET",
            "/v1/reconciliations".into(),
            None,
            [403, 403, 403, 403, 403, 200],
        ),
        (
            "POST",
            "/v1/reconciliations".into(),
            Some(json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z" })),
            [403, 403, 403, 403, 403, 202],
        ),
        (
            "GET",
            "/v1/reconciliations/2026-01-01T00:00:00Z/corrections".into(),
            None,
            [200, 200, 200, 403, 403, 200],
        ),
        (
            "GET",
            "/v1/corrections?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z".into(),
            None,
            [200, 200, 200, 403, 403, 200],
        ),
        (
            "GET",
            "/v1/placements".into(),
            None,
            [403, 403, 403, 200, 200, 200],
        ),
        (
            "POST",
            "/v1/metrics/query".into(),
            Some(
                json!({ "entities": [{ "entity": "ad", "id": ad }], "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z" }),
            ),
            [200, 200, 200, 200, 200, 200],
        ),
        (
            "PUT",
            "/v1/placements/top".into(),
            Some(slot),
            [403, 403, 403, 403, 403, 200],
        ),
        (
            "GET",
            "/v1/placements/top/entries".into(),
            None,
            [403, 403, 403, 403, 403, 200],
        ),
        (
            "POST",
            "/v1/keys".into(),
            Some(json!({ "scope": "admin" })),
            [403, 403, 403, 403, 403, 201],
        ),
        ("GET", "/v1/keys".into(), None, [403, 403, 403, 403, 403, 200]),
        (
            "GET",
            format!("/v1/keys/{}", key_id(&victim)),
            None,
            [403, 403, 403, 403, 403, 200],
        ),
        (
            "DELETE",
            format!("/v1/keys/{}", key_id(&victim)),
            None,
            [403, 403, 403, 403, 403, 204],
        ),
        (
            "POST",
            format!("/v1/keys/{}/rotate", key_id(&rotated)),
            None,
            [403, 403, 403, 403, 403, 201],
        ),
    ];
    for (method, path, body, statuses) in routes {
        let statuses = [401, 401, 401].into_iter().chain(statuses);
        for ((whose, key), status) in keys.iter().zip(statuses) {
            let asked = request(method, &path, key.as_deref(), body.clone());
            let answer = world.send(asked).await;
            let about = format!("{method} {path} with {whose} key");
            assert_eq!(answer.status.as_u16(), status, "{about}: {}", answer.text());
            match status {
                401 => {
                    answer.problem(401, "unauthorized");
                    let challenge = answer.header("www-authenticate").unwrap();
                    assert!(challenge.starts_with("Bearer"), "{about}: {challenge}");
                    assert_eq!(challenge.contains("invalid_token"), key.is_some(), "{about}");
                }
                403 => drop(answer.problem(403, "forbidden")),
                404 => drop(answer.problem(404, "not-found")),
                _ => {}
            }
            if *whose == "another advertiser's" {
                assert!(!answer.text().contains("shop-9"), "{about}: {}", answer.text());
            }
        }
    }
    // What is another's looks exactly as what isn't there.
    for (theirs, nobodys) in [
        (format!("/v1/ads/{ad}"), "/v1/ads/1".to_owned()),
        (metrics(&format!("ads/{ad}")), metrics("ads/1")),
        (metrics("campaigns/1009"), metrics("campaigns/1")),
        (metrics("advertisers/9"), metrics("advertisers/1")),
        (
            "/v1/ads?advertiser_id=9".to_owned(),
            "/v1/ads?advertiser_id=1".to_owned(),
        ),
        (
            "/v1/campaigns?advertiser_id=9".to_owned(),
            "/v1/campaigns?advertiser_id=1".to_owned(),
        ),
        (
            "/v1/ads?campaign_id=1009".to_owned(),
            "/v1/ads?campaign_id=1".to_owned(),
        ),
    ] {
        let mut answers = Vec::new();
        for path in [&theirs, &nobodys] {
            let answer = world.send(request("GET", path, Some(&foreign), None)).await;
            let mut document = answer.json();
            if let Some(document) = document.as_object_mut() {
                document.remove("request_id");
            }
            answers.push((answer.status, document));
        }
        assert_eq!(answers[0], answers[1], "{theirs}");
    }
}

#[tokio::test]
async fn an_advertiser_makes_ads_for_itself_only_and_joins_nobody_elses_campaign() {
    let world = World::new().await;
    world.ad(9).await;
    let key = world.advertiser(8, false).await;
    let make = async |advertiser: &str, campaign: &str, fan_out: Option<u32>| {
        let mut body = json!({
            "advertiser_id": advertiser, "campaign_id": campaign, "redirect_url": "https://shop.example/",
        });
        if let Some(fan_out) = fan_out {
            body["fan_out"] = json!(fan_out);
        }
        world
            .send(request("POST", "/v1/ads", Some(&key), Some(body)))
            .await
    };
    make("9", "1", None).await.problem(403, "forbidden");
    make("8", "1", Some(2)).await.problem(403, "forbidden");
    make("8", "1009", None)
        .await
        .problem_with(400, "invalid-body", "campaign_id");
    let own = make("8", "1", None).await;
    assert_eq!(own.status.as_u16(), 201, "{}", own.text());
    let path = format!("/v1/ads/{}", own.json()["ad_id"].as_str().unwrap());
    let change = async |body: Value| world.send(request("PATCH", &path, Some(&key), Some(body))).await;
    change(json!({ "campaign_id": "1009" }))
        .await
        .problem_with(400, "invalid-body", "campaign_id");
    change(json!({ "fan_out": 2 })).await.problem(403, "forbidden");
    change(json!({ "advertiser_id": "9" }))
        .await
        .problem_with(400, "invalid-body", "advertiser_id");
    // The campaign's counts must stay somebody's.
    change(json!({ "campaign_id": "2" }))
        .await
        .problem_with(400, "invalid-body", "campaign_id");
    assert_eq!(make("8", "1", None).await.status.as_u16(), 201);
    assert_eq!(
        change(json!({ "campaign_id": "2" })).await.json()["campaign_id"],
        "2"
    );
}

#[tokio::test]
async fn only_the_bearer_scheme_with_one_whole_key_opens() {
    let world = World::new().await;
    let admin = world.admin.clone();
    for (value, status) in [
        (format!("Bearer {admin}"), 200),
        (format!("bearer {admin}"), 200),
        (format!("BEARER   {admin}  "), 200),
        (admin.clone(), 401),
        (format!("Basic {admin}"), 401),
        (format!("Bearer{admin}"), 401),
        (format!("Bearer {admin}, Bearer {admin}"), 401),
        (format!("Bearer {}", &admin[..admin.len() - 1]), 401),
        (format!("Bearer {admin}A"), 401),
        (format!("Bearer {}", admin.to_uppercase()), 401),
        ("Bearer ".to_owned(), 401),
        ("Bearer clk_".to_owned(), 401),
        (String::new(), 401),
        ("\u{e4}".to_owned(), 401),
    ] {
        let asked = crate::world::with(request("GET", "/v1/ads", None, None), "authorization", &value);
        let answer = world.send(asked).await;
        assert_eq!(answer.status.as_u16(), status, "{value:?}");
    }
    let twice = crate::world::with(
        request("GET", "/v1/ads", Some(&admin), None),
        "authorization",
        &format!("Bearer {admin}"),
    );
    world.send(twice).await.problem(401, "unauthorized");
    // A key in the address would stand in logs: it is refused as any unknown parameter.
    let in_query = request("GET", &format!("/v1/ads?key={admin}"), Some(&admin), None);
    world
        .send(in_query)
        .await
        .problem_with(400, "invalid-parameter", "key");
}
