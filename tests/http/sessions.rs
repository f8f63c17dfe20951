//! `/dashboard/session`: what a session opens, what it never does, and how it ends.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::ids::PlacementId;
use clickledger_core::service::keys::{CACHED_MS, KeysService, SESSION_MS};
use clickledger_embedded::SystemEntropy;
use serde_json::{Value, json};

use crate::world::{Answer, World, get, request, with};

const PATH: &str = "/dashboard/session";

/// A sign-in from a dashboard's page.
fn sign_in(key: &str) -> Request<Body> {
    own(request("POST", PATH, None, Some(json!({ "key": key }))))
}

/// The request, as a browser sends it for one of our own pages.
fn own(request: Request<Body>) -> Request<Body> {
    with(request, "sec-fetch-site", "same-origin")
}

fn with_cookie(request: Request<Body>, session: &str) -> Request<Body> {
    with(request, "cookie", &format!("__Host-clickledger={session}"))
}

/// A page's request with its session.
fn of_page(method: &str, path: &str, session: &str, body: Option<Value>) -> Request<Body> {
    own(with_cookie(request(method, path, None, body), session))
}

/// The session's text out of the answer to a sign-in.
#[track_caller]
pub(crate) fn session_of(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let cookie = answer.header("set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200"
    );
    pair.strip_prefix("__Host-clickledger=").unwrap().to_owned()
}

async fn signed_in(world: &World, key: &str) -> String {
    session_of(&world.send(sign_in(key)).await)
}

#[tokio::test]
async fn who_signs_in_reads_what_the_key_reads_and_the_page_sees_no_secret() {
    let world = World::new().await;
    let (ad, foreign) = (world.ad(9).await, world.ad(8).await);
    let key = world.advertiser(9, false).await;
    let answer = world.send(sign_in(&key)).await;
    let session = session_of(&answer);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.json(),
        json!({ "scope": "advertiser", "advertiser_id": "9", "expires_at": "2026-01-02T12:00:30Z" })
    );
    let secret = &session[session.len() - 24..];
    assert!(!answer.text().contains(secret));

    let who = world.send(of_page("GET", PATH, &session, None)).await;
    assert_eq!((who.status, who.json()), (StatusCode::OK, answer.json()));
    assert_eq!(who.header("set-cookie"), None);
    let list = world.send(of_page("GET", "/v1/ads", &session, None)).await;
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 1);
    for (path, status) in [
        (format!("/v1/ads/{ad}"), 200),
        (format!("/v1/ads/{foreign}"), 404),
        ("/v1/keys".to_owned(), 403),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = world.send(of_page(method, &path, &session, None)).await;
            assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        }
    }
    let placement = world.slot("top", &[&ad]).await;
    let placement_ids = vec![placement.parse::<PlacementId>().unwrap()];
    let publisher = world.key(Scope::Publisher { placement_ids }).await;
    let view = world.send(sign_in(&publisher)).await.json();
    assert_eq!(view["scope"], "publisher");
    assert_eq!(view["placement_ids"], json!([placement]));
    assert_eq!(world.send(sign_in(&world.admin)).await.json()["scope"], "admin");
}

#[tokio::test]
async fn a_session_changes_nothing_whatever_its_key_may_do() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    let victim = world.advertiser(9, true).await;
    let victim_id = victim.split('_').nth(1).unwrap();
    let session = signed_in(&world, &world.admin).await;
    let new_ad =
        json!({ "advertiser_id": "9", "campaign_id": "1009", "redirect_url": "https://shop.example/" });
    for (method, path, body) in [
        ("POST", "/v1/ads".to_owned(), Some(new_ad)),
        ("PATCH", format!("/v1/ads/{ad}"), Some(json!({ "title": "x" }))),
        (
            "PUT",
            "/v1/placements/top".to_owned(),
            Some(json!({ "entries": [{ "ad_id": ad }] })),
        ),
        ("POST", "/v1/keys".to_owned(), Some(json!({ "scope": "admin" }))),
        ("DELETE", format!("/v1/keys/{victim_id}"), None),
        ("POST", format!("/v1/keys/{victim_id}/rotate"), None),
        (
            "POST",
            "/v1/reconciliations".to_owned(),
            Some(json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z" })),
        ),
    ] {
        let answer = world.send(of_page(method, &path, &session, body)).await;
        answer.problem(401, "unauthorized");
    }
    let kept = world.send(request("GET", "/v1/ads", Some(&victim), None)).await;
    assert_eq!(kept.json()["items"][0]["title"], "An offer");
    assert!(world.orders.placed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_cookie_counts_in_requests_of_our_own_pages_only() {
    let world = World::new().await;
    let session = signed_in(&world, &world.admin).await;
    let asked = || with_cookie(get("/v1/ads"), &session);
    for (headers, status) in [
        (vec![("sec-fetch-site", "same-origin")], 200),
        (vec![("origin", "https://clicks.example")], 200),
        (vec![], 401),
        (vec![("sec-fetch-site", "cross-site")], 401),
        (vec![("sec-fetch-site", "same-site")], 401),
        (vec![("sec-fetch-site", "none")], 401),
        (vec![("origin", "https://evil.example")], 401),
        (vec![("origin", "null")], 401),
        (
            vec![
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://clicks.example"),
            ],
            401,
        ),
        (
            vec![
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            401,
        ),
    ] {
        let request = headers
            .iter()
            .fold(asked(), |request, (name, value)| with(request, name, value));
        let answer = world.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?}: {}", answer.text());
    }
    // Who is signed in is nobody else's business either.
    let who = with(with_cookie(get(PATH), &session), "sec-fetch-site", "cross-site");
    world.send(who).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn keys_and_sessions_do_not_stand_in_for_each_other() {
    let world = World::new().await;
    let session = signed_in(&world, &world.admin).await;
    let (id, secret) = session.strip_prefix("cls_").unwrap().split_once('_').unwrap();
    let as_key = format!("clk_{id}_{secret}");
    for bearer in [&session, &as_key] {
        let answer = world.send(request("GET", "/v1/ads", Some(bearer), None)).await;
        answer.problem(401, "unauthorized");
        world.send(sign_in(bearer)).await.problem(401, "unauthorized");
    }
    let key_as_session = world.admin.replacen("clk_", "cls_", 1);
    for cookie in [
        world.admin.clone(),
        key_as_session,
        as_key,
        String::new(),
        "cls_".to_owned(),
        session[..session.len() - 1].to_owned(),
        format!("{session}A"),
        format!("{session}; __Host-clickledger={session}"),
        format!("\"{session}\""),
    ] {
        let answer = world.send(of_page("GET", "/v1/ads", &cookie, None)).await;
        answer.problem(401, "unauthorized");
        let answer = world.send(of_page("GET", PATH, &cookie, None)).await;
        answer.problem(401, "unauthorized");
    }
    // A session is none of the keys that are listed, shown, revoked, rotated.
    let list = world.ask("GET", "/v1/keys", None).await;
    assert!(!list.text().contains(id), "{}", list.text());
    for (method, path) in [
        ("GET", format!("/v1/keys/{id}")),
        ("DELETE", format!("/v1/keys/{id}")),
        ("POST", format!("/v1/keys/{id}/rotate")),
    ] {
        world.ask(method, &path, None).await.problem(404, "not-found");
    }
    let still = world.send(of_page("GET", "/v1/ads", &session, None)).await;
    assert_eq!(still.status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_wins_over_a_cookie_also_a_wrong_one() {
    let world = World::new().await;
    let session = signed_in(&world, &world.admin).await;
    let advertiser = world.advertiser(9, true).await;
    let asked = |key: &str| own(with_cookie(request("GET", "/v1/keys", Some(key), None), &session));
    world.send(asked(&advertiser)).await.problem(403, "forbidden");
    world.send(asked("clk_x_y")).await.problem(401, "unauthorized");
    let basic = with(
        of_page("GET", "/v1/keys", &session, None),
        "authorization",
        "Basic eA==",
    );
    world.send(basic).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_session_ends_by_sign_out_by_time_and_with_its_key() {
    let world = World::new().await;
    let key = world.advertiser(9, true).await;
    let id = key.split('_').nth(1).unwrap().to_owned();
    let status = async |session: &str| {
        let answer = world.send(of_page("GET", "/v1/ads", session, None)).await;
        answer.status.as_u16()
    };
    let (ended, other) = (signed_in(&world, &key).await, signed_in(&world, &key).await);
    assert_eq!((status(&ended).await, status(&other).await), (200, 200));

    // Another's page signs nobody out, nor does whoever knows only half of it.
    let cross = with(
        with_cookie(request("DELETE", PATH, None, None), &ended),
        "sec-fetch-site",
        "cross-site",
    );
    world.send(cross).await.problem(403, "forbidden");
    let other_letter = if ended[17..].starts_with('A') { "B" } else { "A" };
    let wrong_secret = format!("{}{other_letter}{}", &ended[..17], &ended[18..]);
    let out = world.send(of_page("DELETE", PATH, &wrong_secret, None)).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!(status(&ended).await, 200);

    for _ in 0..2 {
        let out = world.send(of_page("DELETE", PATH, &ended, None)).await;
        assert_eq!(out.status, StatusCode::NO_CONTENT);
        assert_eq!(
            out.header("set-cookie"),
            Some("__Host-clickledger=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
        );
        assert_eq!((status(&ended).await, status(&other).await), (401, 200));
    }

    world.clock.advance(SESSION_MS - 1);
    assert_eq!(status(&other).await, 200);
    world.clock.advance(1);
    assert_eq!(status(&other).await, 401);

    let last = signed_in(&world, &key).await;
    assert_eq!(status(&last).await, 200);
    world.ask("DELETE", &format!("/v1/keys/{id}"), None).await;
    assert_eq!(status(&last).await, 401);
    world.send(sign_in(&key)).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn what_ends_in_one_process_ends_in_another_within_half_a_minute() {
    let world = World::new().await;
    let key = world.advertiser(9, true).await;
    let id = key.split('_').nth(1).unwrap();
    let elsewhere = KeysService::new(
        Arc::new(world.store.keys()),
        world.clock.clone(),
        Arc::new(SystemEntropy),
    );
    let opens = async |session: &str| elsewhere.signed_in(session).await.unwrap().is_some();
    let (out, revoked) = (signed_in(&world, &key).await, signed_in(&world, &key).await);
    assert!(opens(&out).await && opens(&revoked).await);
    world.send(of_page("DELETE", PATH, &out, None)).await;
    assert!(opens(&out).await);
    world.clock.advance(CACHED_MS);
    assert!(!opens(&out).await);
    assert!(opens(&revoked).await);
    world.ask("DELETE", &format!("/v1/keys/{id}"), None).await;
    assert!(opens(&revoked).await);
    world.clock.advance(CACHED_MS);
    assert!(!opens(&revoked).await);
}

#[tokio::test]
async fn sign_ins_are_limited_by_client_whether_they_are_right_or_wrong() {
    let world = World::new().await;
    let from = |key: &str, address: [u8; 4]| {
        let mut request = sign_in(key);
        let peer = std::net::SocketAddr::from((address, 50_000));
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    };
    let wrong = "clk_AAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for _ in 0..30 {
        let answer = world.send(from(wrong, [192, 0, 2, 1])).await;
        answer.problem(401, "unauthorized");
        assert_eq!(answer.header("set-cookie"), None);
    }
    for key in [wrong, &world.admin] {
        let refused = world.send(from(key, [192, 0, 2, 1])).await;
        refused.problem(429, "rate-limited");
        assert_eq!(refused.header("retry-after"), Some("2"));
        assert_eq!(refused.header("set-cookie"), None);
    }
    assert_eq!(
        world.send(from(&world.admin, [192, 0, 2, 2])).await.status,
        StatusCode::OK
    );
    world.clock.advance(2_000);
    let again = world.send(from(&world.admin, [192, 0, 2, 1])).await;
    assert_eq!(again.status, StatusCode::OK);
}

#[tokio::test]
async fn nobody_is_signed_in_by_another_page_or_by_a_form() {
    let world = World::new().await;
    let body = json!({ "key": world.admin });
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let asked = with(request("POST", PATH, None, Some(body.clone())), name, value);
        let answer = world.send(asked).await;
        answer.problem(403, "forbidden");
        assert_eq!(answer.header("set-cookie"), None);
    }
    // A form cannot send JSON, and no page of another site is let through to ask.
    for media_type in ["text/plain", "application/x-www-form-urlencoded"] {
        let mut asked = own(request("POST", PATH, None, Some(body.clone())));
        asked
            .headers_mut()
            .insert("content-type", media_type.parse().unwrap());
        world.send(asked).await.problem(415, "unsupported-media-type");
    }
    let preflight = with(
        request("OPTIONS", PATH, None, None),
        "origin",
        "https://evil.example",
    );
    let answer = world.send(preflight).await;
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    for bad in [
        json!({}),
        json!({ "key": 1 }),
        json!({ "key": world.admin, "for": "ever" }),
        json!([world.admin]),
    ] {
        let answer = world.send(own(request("POST", PATH, None, Some(bad)))).await;
        answer.problem(400, "invalid-body");
        assert!(!answer.text().contains(&world.admin[world.admin.len() - 24..]));
    }
    // A tool that is no browser says nothing of where it comes from.
    let tool = world.send(request("POST", PATH, None, Some(body))).await;
    session_of(&tool);
}
