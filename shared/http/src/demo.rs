//! The demo page: files from the binary, and the access that it needs, told on loopback only.
//!
//! Invariant: the demo's key is told only to a peer on a loopback address that asked for a loopback host, past no proxy: neither
//! another machine nor a page that rebinds its name to 127.0.0.1 gets it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use clickledger_core::domain::ids::AdvertiserId;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;

use crate::assets::{CSS, HTML, ICON, JS, POLICY, SVG, UPLOT};
use crate::client::peer;
use crate::config::Demo;
use crate::problem::{Kind, Problem};

/// Where a file is served, its type, and what is in it.
const FILES: [(&str, &str, &str); 6] = [
    ("/demo", HTML, include_str!("../assets/demo/index.html")),
    ("/demo/demo.css", CSS, include_str!("../assets/demo/demo.css")),
    ("/demo/demo.js", JS, include_str!("../assets/demo/demo.js")),
    ("/demo/icon.svg", SVG, ICON),
    (
        "/demo/landing.css",
        CSS,
        include_str!("../assets/demo/landing.css"),
    ),
    ("/demo/landing.js", JS, include_str!("../assets/demo/landing.js")),
];
const LANDING: &str = include_str!("../assets/demo/landing.html");

/// `/demo` and what it needs; `/` leads there.
pub fn demo_router(demo: Demo) -> OpenApiRouter {
    let mut router = Router::new()
        .route("/", get(root))
        .route("/demo/session", get(session))
        .route("/demo/landing/{n}", get(landing))
        .with_state(Arc::new(demo));
    for (path, media_type, text) in FILES {
        router = router.route(path, get(move || async move { file(media_type, text) }));
    }
    for (name, media_type, text) in UPLOT {
        let path = format!("/demo/{name}");
        router = router.route(&path, get(move || async move { file(media_type, text) }));
    }
    // Not of the API: it is not in its description.
    OpenApiRouter::from(router)
}

/// Relative: the page may live under a path prefix.
async fn root() -> impl IntoResponse {
    (
        StatusCode::FOUND,
        [
            (header::LOCATION, HeaderValue::from_static("demo")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ],
    )
}

async fn landing(Path(n): Path<String>) -> Result<Response, Problem> {
    match n.parse::<u16>() {
        Ok(1..) if !n.starts_with(['0', '+']) => Ok(file(HTML, LANDING)),
        _ => Err(Problem::new(Kind::NotFound, "there is no such page")),
    }
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        POLICY,
    ];
    (headers, text).into_response()
}

/// What the page sees the counts with.
#[derive(Serialize)]
struct Session {
    key: String,
    advertiser_id: AdvertiserId,
}

async fn session(State(demo): State<Arc<Demo>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    if !is_local(&parts) {
        return Err(Problem::new(Kind::NotFound, "there is no such resource"));
    }
    let session = Session {
        key: demo.key.clone(),
        advertiser_id: demo.advertiser_id,
    };
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, Json(session)).into_response())
}

fn is_local(request: &Parts) -> bool {
    let headers = &request.headers;
    let proxied = headers.contains_key("x-forwarded-for") || headers.contains_key(header::FORWARDED);
    let from_loopback = peer(request).is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_loopback_host),
        _ => false,
    };
    let target = request
        .uri
        .authority()
        .is_none_or(|authority| is_loopback_host(authority.as_str()));
    from_loopback && host && target && !proxied
}

/// `localhost`, `127.0.0.1` or `[::1]`, with or without a port.
fn is_loopback_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    if text.contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_local() {
        for local in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.1.2.3",
            "[::1]",
            "[::1]:80",
        ] {
            assert!(is_loopback_host(local), "{local}");
        }
        for other in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "127.0.0.1@example.com",
            "example.com@127.0.0.1",
            "localhost:80@example.com",
            "0.0.0.0",
            "192.168.1.1",
            "[::2]",
            "[::1",
            "2130706433",
            "localhost,example.com",
            "localhost/x",
        ] {
            assert!(!is_loopback_host(other), "{other}");
        }
    }
}
