//! Rate limits: every answer to a key tells its share, and beyond it there is a 429 that says when to come again.

use std::num::NonZeroU32;

use clickledger_core::domain::api_key::Scope;
use clickledger_core::service::rate_limit::RateLimits;
use serde_json::json;

use crate::sessions::session_of;
use crate::world::{Answer, World, get, request, with};

fn few(key: u32, admin: u32) -> RateLimits {
    RateLimits {
        key: NonZeroU32::new(key).unwrap(),
        admin: NonZeroU32::new(admin).unwrap(),
        ..RateLimits::default()
    }
}

fn told(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("ratelimit-policy"), answer.header("ratelimit"))
}

#[tokio::test]
async fn every_answer_to_a_key_tells_what_is_left() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    let key = world.advertiser(9, true).await;
    // Whatever becomes of the request: found, not found, forbidden, malformed.
    for (used, (method, path, status)) in (1..).zip([
        ("GET", format!("/v1/ads/{ad}"), 200),
        ("HEAD", format!("/v1/ads/{ad}"), 200),
        ("GET", "/v1/ads/1".to_owned(), 404),
        ("GET", "/v1/keys".to_owned(), 403),
        ("GET", "/v1/ads?x=y".to_owned(), 400),
        ("POST", "/v1/ads".to_owned(), 415),
    ]) {
        let answer = world.send(request(method, &path, Some(&key), None)).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        let left = format!("\"key\";r={};t=1", 600 - used);
        assert_eq!(
            told(&answer),
            (Some("\"key\";q=600;w=60"), Some(&*left)),
            "{path}"
        );
        let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
        assert!(
            vary.iter().any(|vary| *vary == "authorization, cookie"),
            "{vary:?}"
        );
    }
    // What needs no key, and what opens nothing, has no share.
    for asked in [
        get("/healthz"),
        get("/v1/ads"),
        request("GET", "/v1/ads", Some("clk_x_y"), None),
    ] {
        assert_eq!(told(&world.send(asked).await), (None, None));
    }
    let admins = world.ask("GET", "/v1/keys", None).await;
    assert_eq!(admins.header("ratelimit-policy"), Some("\"key\";q=60000;w=60"));
}

#[tokio::test]
async fn beyond_its_share_a_key_waits_and_others_do_not() {
    let world = World::limited(few(6, 1_000)).await;
    let (key, other) = (world.advertiser(9, true).await, world.advertiser(9, true).await);
    let ask = async |key: &str| world.send(request("GET", "/v1/ads", Some(key), None)).await;
    for left in (0..6).rev() {
        let answer = ask(&key).await;
        assert_eq!(answer.status.as_u16(), 200);
        let limit = format!("\"key\";r={left};t={}", (6 - left) * 10);
        assert_eq!(answer.header("ratelimit"), Some(&*limit));
    }
    for _ in 0..3 {
        let refused = ask(&key).await;
        refused.problem(429, "rate-limited");
        assert_eq!(refused.header("retry-after"), Some("10"));
        assert_eq!(
            told(&refused),
            (Some("\"key\";q=6;w=60"), Some("\"key\";r=0;t=60"))
        );
    }
    assert_eq!(ask(&other).await.status.as_u16(), 200);
    world.clock.advance(9_999);
    ask(&key).await.problem(429, "rate-limited");
    world.clock.advance(1);
    assert_eq!(ask(&key).await.status.as_u16(), 200);
    ask(&key).await.problem(429, "rate-limited");
}

#[tokio::test]
async fn sessions_take_from_their_keys_share_and_a_refused_change_is_not_made() {
    let world = World::limited(few(1_000, 4)).await;
    let admin = world.key(Scope::Admin).await;
    let body = Some(json!({ "key": admin }));
    let session = session_of(
        &world
            .send(request("POST", "/dashboard/session", None, body))
            .await,
    );
    let by_cookie = || {
        let asked = with(get("/v1/keys"), "sec-fetch-site", "same-origin");
        with(asked, "cookie", &format!("__Host-clickledger={session}"))
    };
    for used in 1..=2 {
        let by_key = world.send(request("GET", "/v1/keys", Some(&admin), None)).await;
        let limit = format!("\"key\";r={};t={}", 5 - 2 * used, (2 * used - 1) * 15);
        assert_eq!(by_key.header("ratelimit"), Some(&*limit));
        assert_eq!(world.send(by_cookie()).await.status.as_u16(), 200);
    }
    world.send(by_cookie()).await.problem(429, "rate-limited");
    let ad = json!({ "advertiser_id": "9", "campaign_id": "12", "redirect_url": "https://shop.example/" });
    let refused = world
        .send(request("POST", "/v1/ads", Some(&admin), Some(ad)))
        .await;
    refused.problem(429, "rate-limited");
    let ads = world.ask("GET", "/v1/ads", None).await.json();
    assert_eq!(ads["items"], json!([]));
}
