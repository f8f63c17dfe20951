//! The demo page: its files, and who is told its key.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use clickledger_core::domain::ids::AdvertiserId;
use clickledger_http::{Demo, EdgeConfig};

use crate::world::{World, get};

async fn world() -> World {
    World::with(EdgeConfig {
        demo: Some(Demo {
            key: "clk_demo_key".to_owned(),
            advertiser_id: AdvertiserId(9),
        }),
        ..EdgeConfig::default()
    })
    .await
}

#[tokio::test]
async fn the_pages_files_are_served_under_a_strict_policy() {
    let world = world().await;
    let root = world.send(get("/")).await;
    assert_eq!(root.status, StatusCode::FOUND);
    assert_eq!(root.header("location"), Some("demo"));
    for (path, media_type, beginning) in [
        ("/demo", "text/html; charset=utf-8", "<!doctype html>"),
        ("/demo/demo.css", "text/css; charset=utf-8", ""),
        (
            "/demo/demo.js",
            "text/javascript; charset=utf-8",
            "// The demo page",
        ),
        ("/demo/icon.svg", "image/svg+xml", "<svg"),
        (
            "/demo/uplot/uPlot.iife.min.js",
            "text/javascript; charset=utf-8",
            "",
        ),
        ("/demo/uplot/uPlot.min.css", "text/css; charset=utf-8", ""),
        ("/demo/landing/1", "text/html; charset=utf-8", "<!doctype html>"),
        ("/demo/landing/3", "text/html; charset=utf-8", "<!doctype html>"),
        ("/demo/landing.css", "text/css; charset=utf-8", ""),
        ("/demo/landing.js", "text/javascript; charset=utf-8", ""),
    ] {
        let answer = world.send(get(path)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header("content-type"), Some(media_type), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(answer.text().starts_with(beginning), "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
    for path in [
        "/demo/",
        "/demo/README.md",
        "/demo/landing/",
        "/demo/landing/0",
        "/demo/landing/x",
        "/demo/landing/+1",
        "/demo/landing/..",
        "/demo/..%2f..%2fCargo.toml",
        "/demo/uplot/",
    ] {
        world.send(get(path)).await.problem(404, "not-found");
    }
}

fn session(peer: &str, host: &[&str], more: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().uri("/demo/session");
    for host in host {
        request = request.header("host", *host);
    }
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    let peer: SocketAddr = peer.parse().unwrap();
    request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_demos_key_is_told_on_loopback_only() {
    let world = world().await;
    for (peer, host) in [
        ("127.0.0.1:5", "127.0.0.1:8080"),
        ("127.0.0.1:5", "localhost"),
        ("[::1]:5", "[::1]:8080"),
        ("[::ffff:127.0.0.1]:5", "127.0.0.1"),
    ] {
        let answer = world.send(session(peer, &[host], &[])).await;
        assert_eq!(answer.status, StatusCode::OK, "{peer} {host}");
        assert_eq!(answer.json()["key"], "clk_demo_key");
        assert_eq!(answer.json()["advertiser_id"], "9");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    for (peer, host, more) in [
        ("198.51.100.7:5", &["127.0.0.1"][..], &[][..]),
        (
            "198.51.100.7:5",
            &["localhost"],
            &[("x-forwarded-for", "127.0.0.1")],
        ),
        // A name that was made to lead to 127.0.0.1.
        ("127.0.0.1:5", &["evil.example"], &[]),
        ("127.0.0.1:5", &["localhost.evil.example"], &[]),
        ("127.0.0.1:5", &["127.0.0.1@evil.example"], &[]),
        ("127.0.0.1:5", &["127.0.0.1", "evil.example"], &[]),
        ("127.0.0.1:5", &[], &[]),
        ("127.0.0.1:5", &[""], &[]),
        // Past a proxy on this machine.
        (
            "127.0.0.1:5",
            &["127.0.0.1"],
            &[("x-forwarded-for", "198.51.100.7")],
        ),
        (
            "127.0.0.1:5",
            &["127.0.0.1"],
            &[("forwarded", "for=198.51.100.7")],
        ),
    ] {
        let answer = world.send(session(peer, host, more)).await;
        answer.problem(404, "not-found");
        assert!(!answer.text().contains("clk_"));
    }
    let mut absolute = session("127.0.0.1:5", &["127.0.0.1"], &[]);
    *absolute.uri_mut() = "http://evil.example/demo/session".parse().unwrap();
    world.send(absolute).await.problem(404, "not-found");
    let mut unknown = session("127.0.0.1:5", &["127.0.0.1"], &[]);
    unknown.extensions_mut().clear();
    world.send(unknown).await.problem(404, "not-found");
}

#[tokio::test]
async fn without_a_demo_there_is_no_page() {
    let world = World::new().await;
    for path in ["/", "/demo", "/demo/demo.js", "/demo/session"] {
        world.send(get(path)).await.problem(404, "not-found");
    }
}
