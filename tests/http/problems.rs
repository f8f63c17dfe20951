//! Every error is a problem document, also where no handler is reached or one panics.

use axum::http::StatusCode;

use crate::world::{Mode, World, get, request, with};

#[tokio::test]
async fn addresses_that_are_nothing_are_404() {
    let world = World::new().await;
    for path in [
        "/x",
        "/v1",
        "/v1/",
        "/v1/ads/",
        "/v1//ads",
        "//click",
        "/click/",
        "/CLICK",
        "/v1/ads/1/2",
        "/v2/ads",
        "/.env",
        "/%2e%2e/etc/passwd",
        "/v1/placements",
        "/healthz/",
        "/%ff",
        "/v1/metrics",
        "/metrics",
    ] {
        let answer = world.send(get(path)).await;
        match path {
            "/v1/placements" => drop(answer.problem(401, "unauthorized")),
            _ => drop(answer.problem(404, "not-found")),
        }
    }
}

#[tokio::test]
async fn methods_that_a_resource_does_not_have_are_405_with_those_that_it_has() {
    let world = World::new().await;
    for (path, method, allowed) in [
        ("/click", "PUT", "GET,HEAD,POST,OPTIONS"),
        ("/click", "DELETE", "GET,HEAD,POST,OPTIONS"),
        ("/click", "TRACE", "GET,HEAD,POST,OPTIONS"),
        ("/click", "BREW", "GET,HEAD,POST,OPTIONS"),
        ("/v1/ads", "DELETE", "GET,HEAD,POST"),
        ("/v1/ads/1", "PUT", "GET,HEAD,PATCH"),
        ("/v1/ads/1", "DELETE", "GET,HEAD,PATCH"),
        ("/v1/placements", "POST", "GET,HEAD"),
        ("/v1/placements/top", "POST", "GET,HEAD,PUT,OPTIONS"),
        ("/v1/placements/top/entries", "PUT", "GET,HEAD"),
        ("/v1/ads/1/metrics", "POST", "GET,HEAD"),
        ("/v1/metrics/total", "OPTIONS", "GET,HEAD"),
        ("/v1/keys", "PUT", "GET,HEAD,POST"),
        ("/v1/keys/AAAAAAAAAAAA", "PATCH", "GET,HEAD,DELETE"),
        ("/v1/keys/AAAAAAAAAAAA/rotate", "GET", "POST"),
        ("/healthz", "POST", "GET,HEAD"),
        ("/v1/openapi.json", "POST", "GET,HEAD"),
    ] {
        let answer = world.send(request(method, path, None, None)).await;
        answer.problem(405, "method-not-allowed");
        let mut names: Vec<&str> = answer.header("allow").unwrap().split(',').collect();
        let mut wanted: Vec<&str> = allowed.split(',').collect();
        names.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(names, wanted, "{method} {path}");
    }
}

#[tokio::test]
async fn addresses_and_headers_that_are_too_long_are_431() {
    let world = World::new().await;
    for path in [
        format!("/click?adId=1&imp={}", "x".repeat(8200)),
        format!("/{}", "x".repeat(60_000)),
        format!("/v1/ads?{}", "a&".repeat(5000)),
    ] {
        world.send(get(&path)).await.problem(431, "headers-too-large");
    }
    let long = with(get("/click?adId=1"), "cookie", &"x".repeat(40_000));
    world.send(long).await.problem(431, "headers-too-large");
    let mut many = get("/healthz");
    for _ in 0..2000 {
        many = with(many, "x-many", "0123456789abcdef");
    }
    world.send(many).await.problem(431, "headers-too-large");
}

#[tokio::test]
async fn a_panic_is_500_and_the_next_request_is_served() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.catalog.set(Mode::Panics);
    for (method, path) in [
        ("GET", format!("/click?adId={ad}")),
        ("POST", format!("/click?adId={ad}")),
        ("GET", "/v1/placements/top".to_owned()),
        ("GET", format!("/v1/ads/{ad}")),
    ] {
        let answer = world.ask(method, &path, None).await;
        answer.problem(500, "internal");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    world.catalog.set(Mode::Works);
    let answer = world.send(get(&format!("/click?adId={ad}"))).await;
    assert_eq!(answer.status, StatusCode::FOUND);
}

#[tokio::test]
async fn a_silent_store_is_503_and_tells_nothing_of_itself() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.catalog.set(Mode::Down);
    for path in [
        format!("/v1/ads/{ad}"),
        "/v1/ads".to_owned(),
        "/v1/placements".to_owned(),
        "/v1/placements/top/entries".to_owned(),
        format!("/v1/ads/{ad}/metrics?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z"),
    ] {
        let answer = world.ask("GET", &path, None).await;
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn health_is_told_to_everyone() {
    let world = World::new().await;
    for (path, status) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let answer = world.send(get(path)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["status"], status);
    }
    struct Never;
    #[async_trait::async_trait]
    impl clickledger_http::Readiness for Never {
        async fn ready(&self) -> Result<(), String> {
            Err("the pump stands still".to_owned())
        }
    }
    let router = clickledger_http::edge(
        clickledger_http::health_router(std::sync::Arc::new(Never)),
        &clickledger_http::EdgeConfig::default(),
    );
    let world = World { router, ..world };
    let answer = world.send(get("/readyz")).await;
    assert_eq!(
        answer.problem(503, "unavailable")["detail"],
        "the pump stands still"
    );
    assert_eq!(world.send(get("/healthz")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_two_requests_have_the_same_name() {
    let world = World::new().await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let problem = world.send(get("/x")).await.problem(404, "not-found");
        names.insert(problem["request_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), 100);
}
