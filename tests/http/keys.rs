//! `/v1/keys`: made, shown once, revoked, rotated; and how soon a revoked key stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::http::StatusCode;
use clickledger_core::domain::api_key::{ApiKey, KeyId, PresentedKey, Scope};
use clickledger_core::domain::session::Session;
use clickledger_core::ports::{ApiKeys, Changed, PortResult};
use clickledger_core::service::keys::{CACHED_MS, Inserted, KeysService, SignIn};
use clickledger_embedded::SystemEntropy;
use serde_json::json;

use crate::world::{World, request};

#[tokio::test]
async fn a_key_is_shown_once_and_opens_what_its_scope_says() {
    let world = World::new().await;
    let made = world
        .ask(
            "POST",
            "/v1/keys",
            Some(json!({ "scope": "advertiser", "advertiser_id": "9", "read_only": true })),
        )
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let view = made.json();
    let (id, key) = (view["key_id"].as_str().unwrap(), view["key"].as_str().unwrap());
    assert!(key.starts_with(&format!("clk_{id}_")));
    assert_eq!(made.header("location"), Some(&*format!("keys/{id}")));
    assert_eq!(view["created_at"], "2026-01-02T00:00:30Z");
    let opened = world.send(request("GET", "/v1/ads", Some(key), None)).await;
    assert_eq!(opened.status, StatusCode::OK);

    let read = world.ask("GET", &format!("/v1/keys/{id}"), None).await;
    let view = read.json();
    assert_eq!(view["scope"], "advertiser");
    assert_eq!(view["advertiser_id"], "9");
    assert_eq!(view["read_only"], true);
    assert_eq!(view["last_used_at"], "2026-01-02T00:00:00Z");
    let list = world.ask("GET", "/v1/keys", None).await;
    for answer in [read, list] {
        let secret = &key[key.len() - 24..];
        assert!(!answer.text().contains(secret));
        assert!(!answer.text().contains("sha256"));
    }
}

#[tokio::test]
async fn scopes_that_make_no_sense_are_refused() {
    let world = World::new().await;
    for (body, parameter) in [
        (json!({ "scope": "advertiser" }), "advertiser_id"),
        (json!({ "scope": "admin", "advertiser_id": "9" }), "advertiser_id"),
        (json!({ "scope": "admin", "read_only": true }), "read_only"),
        (json!({ "scope": "publisher" }), "placement_ids"),
        (
            json!({ "scope": "publisher", "placement_ids": [] }),
            "placement_ids",
        ),
        (
            json!({ "scope": "publisher", "placement_ids": ["0"] }),
            "placement_ids[0]",
        ),
        (json!({ "scope": "root" }), "scope"),
    ] {
        let made = world.ask("POST", "/v1/keys", Some(body)).await;
        made.problem_with(400, "invalid-body", parameter);
    }
}

#[tokio::test]
async fn a_revoked_key_stops_at_once_here_and_within_half_a_minute_elsewhere() {
    let world = World::new().await;
    let key = world.advertiser(9, true).await;
    let id = key.split('_').nth(1).unwrap().to_owned();
    let opens = async || {
        let answer = world.send(request("GET", "/v1/ads", Some(&key), None)).await;
        answer.status == StatusCode::OK
    };
    assert!(opens().await);
    // As another process would: this one isn't told.
    world.store.keys().revoke(&id.parse().unwrap(), 1).await.unwrap();
    assert!(opens().await);
    world.clock.advance(CACHED_MS);
    assert!(!opens().await);

    let key = world.advertiser(9, true).await;
    let id = key.split('_').nth(1).unwrap().to_owned();
    let ask = async || {
        world
            .send(request("GET", "/v1/ads", Some(&key), None))
            .await
            .status
    };
    assert_eq!(ask().await, StatusCode::OK);
    let path = format!("/v1/keys/{id}");
    assert_eq!(
        world.ask("DELETE", &path, None).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(ask().await, StatusCode::UNAUTHORIZED);
    // Again, and of a key that never was.
    assert_eq!(
        world.ask("DELETE", &path, None).await.status,
        StatusCode::NO_CONTENT
    );
    assert!(world.ask("GET", &path, None).await.json()["revoked_at"].is_string());
    world
        .ask("DELETE", "/v1/keys/AAAAAAAAAAAA", None)
        .await
        .problem(404, "not-found");
    world
        .ask("DELETE", "/v1/keys/x", None)
        .await
        .problem_with(400, "invalid-parameter", "key_id");
}

/// The store of keys, which counts what is asked of it.
struct Counting {
    inner: clickledger_embedded::Keys,
    reads: AtomicUsize,
    notes: AtomicUsize,
}

#[async_trait]
impl ApiKeys for Counting {
    async fn create(&self, key: &ApiKey) -> PortResult<Changed> {
        self.inner.create(key).await
    }
    async fn get(&self, key_id: &KeyId) -> PortResult<Option<ApiKey>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key_id).await
    }
    async fn list(&self, after: Option<&KeyId>, limit: usize) -> PortResult<Vec<ApiKey>> {
        self.inner.list(after, limit).await
    }
    async fn revoke(&self, key_id: &KeyId, now_ms: i64) -> PortResult<Changed> {
        self.inner.revoke(key_id, now_ms).await
    }
    async fn touch(&self, key_id: &KeyId, hour_ms: i64) -> PortResult<()> {
        self.notes.fetch_add(1, Ordering::Relaxed);
        self.inner.touch(key_id, hour_ms).await
    }
    async fn begin_session(&self, session: &Session) -> PortResult<Changed> {
        self.inner.begin_session(session).await
    }
    async fn session(&self, session_id: &KeyId) -> PortResult<Option<Session>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.session(session_id).await
    }
    async fn end_session(&self, session_id: &KeyId) -> PortResult<()> {
        self.inner.end_session(session_id).await
    }
}

#[tokio::test]
async fn a_remembered_key_costs_no_read_and_its_use_one_note_an_hour() {
    let world = World::new().await;
    let store = Arc::new(Counting {
        inner: world.store.keys(),
        reads: AtomicUsize::new(0),
        notes: AtomicUsize::new(0),
    });
    let keys = KeysService::new(store.clone(), world.clock.clone(), Arc::new(SystemEntropy));
    let asked = || {
        (
            store.reads.load(Ordering::Relaxed),
            store.notes.load(Ordering::Relaxed),
        )
    };
    let key = world.advertiser(9, true).await;
    let wrong = PresentedKey::generate([9; 9], [9; 32]).reveal();
    // A secret may hold underscores itself.
    let id = key.split('_').nth(1).unwrap();
    let wrong_secret = format!("clk_{id}_{}", wrong.rsplit('_').next().unwrap());
    assert!(keys.authenticate(&wrong_secret).await.unwrap().is_none());
    assert_eq!(asked(), (1, 0));
    for _ in 0..10 {
        assert!(keys.authenticate(&key).await.unwrap().is_some());
        assert!(keys.authenticate(&wrong_secret).await.unwrap().is_none());
    }
    assert_eq!(asked(), (1, 0));
    for halves in 1..=120 {
        world.clock.advance(CACHED_MS);
        assert!(keys.authenticate(&key).await.unwrap().is_some());
        assert_eq!(asked().0, 1 + halves);
    }
    // The hour of the clock changed once within this hour.
    assert_eq!(asked().1, 2);
    // A session is remembered too, beside its key.
    let Ok(SignIn::Done(_, session)) = keys.sign_in(&key, None).await else {
        panic!("not signed in");
    };
    let session = session.reveal();
    let (reads, _) = asked();
    for _ in 0..10 {
        assert!(keys.signed_in(&session).await.unwrap().is_some());
    }
    assert_eq!(asked().0, reads + 1);
    let (reads, _) = asked();
    for _ in 0..3 {
        assert!(keys.authenticate(&wrong).await.unwrap().is_none());
        assert!(keys.authenticate("clk_x_y").await.unwrap().is_none());
    }
    assert_eq!(asked().0, reads + 3);
}

#[tokio::test]
async fn a_rotated_key_has_the_same_scope_and_the_old_one_stops() {
    let world = World::new().await;
    let old = world.advertiser(9, true).await;
    let id = old.split('_').nth(1).unwrap().to_owned();
    let made = world.ask("POST", &format!("/v1/keys/{id}/rotate"), None).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let view = made.json();
    assert_ne!(view["key_id"], *id);
    assert_eq!(view["advertiser_id"], "9");
    assert_eq!(view["read_only"], true);
    assert_eq!(
        made.header("location"),
        Some(&*format!("../{}", view["key_id"].as_str().unwrap()))
    );
    let with = async |key: &str| {
        world
            .send(request("GET", "/v1/ads", Some(key), None))
            .await
            .status
    };
    assert_eq!(with(view["key"].as_str().unwrap()).await, StatusCode::OK);
    assert_eq!(with(&old).await, StatusCode::UNAUTHORIZED);
    world
        .ask("POST", &format!("/v1/keys/{id}/rotate"), None)
        .await
        .problem_with(400, "invalid-body", "key_id");
}

#[tokio::test]
async fn a_key_that_is_brought_along_is_stored_once() {
    let world = World::new().await;
    let key = PresentedKey::generate([1; 9], [2; 32]);
    let first = world.keys.insert(&key, Scope::Admin).await.unwrap();
    assert!(matches!(first, Inserted::Created(_)));
    let again = world.keys.insert(&key, Scope::Admin).await.unwrap();
    assert!(matches!(again, Inserted::Existed(_)));
    let other = PresentedKey::generate([1; 9], [3; 32]);
    assert_eq!(
        world.keys.insert(&other, Scope::Admin).await.unwrap(),
        Inserted::Taken
    );
    assert!(world.keys.authenticate(&key.reveal()).await.unwrap().is_some());
    assert!(world.keys.authenticate(&other.reveal()).await.unwrap().is_none());
    world.keys.revoke(&key.key_id).await.unwrap();
    assert_eq!(
        world.keys.insert(&key, Scope::Admin).await.unwrap(),
        Inserted::Taken
    );
    assert!(world.keys.any().await.unwrap());
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let world = World::new().await;
    for _ in 0..4 {
        world.key(Scope::Admin).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world
            .ask("GET", &format!("/v1/keys?limit=2{cursor}"), None)
            .await
            .json();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key["key_id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted());
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("limit=%2B1", "limit"),
        ("limit=1&limit=1", "limit"),
        ("cursor=x", "cursor"),
        ("offset=1", "offset"),
    ] {
        world
            .ask("GET", &format!("/v1/keys?{query}"), None)
            .await
            .problem_with(400, "invalid-parameter", parameter);
    }
}
