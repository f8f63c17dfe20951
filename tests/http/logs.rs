//! What the log holds: routes, statuses, causes; nothing of a client, no token, no key.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use clickledger_core::ports::PortError;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{Mode, World, get, request, with};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_holds_routes_and_statuses_and_nothing_of_a_client() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.slot("top", &[&ad]).await;
    let token = world.token("top").await;
    let path = format!("/click?adId={ad}&imp={token}&user=someone");
    let click = |path: &str| {
        let asked = with(get(path), "referer", "https://news.example/secret-page");
        with(asked, "x-forwarded-for", "203.0.113.9")
    };
    assert_eq!(world.send(click(&path)).await.status, StatusCode::FOUND);
    world.send(click("/click?adId=someone")).await;
    world.send(click("/v1/placements/top?user=someone")).await;
    world
        .send(request("GET", "/v1/ads", Some(&world.admin), None))
        .await;
    world
        .send(request("GET", "/v1/ads", Some("clk_someone_x"), None))
        .await;
    world.gate.refuse(PortError::unavailable("the disk is full"));
    world.send(click(&path)).await;
    world.gate.open();
    world.catalog.set(Mode::Down);
    let down = world.send(click(&path)).await.problem(503, "unavailable");
    world.catalog.set(Mode::Panics);
    let panicked = world.send(click(&path)).await.problem(500, "internal");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for held in [
        "\"route\":\"/click\",\"status\":302",
        "\"route\":\"/v1/ads\",\"status\":401",
        "the disk is full",
        "a handler panicked",
        down["request_id"].as_str().unwrap(),
        panicked["request_id"].as_str().unwrap(),
    ] {
        assert!(log.contains(held), "{held:?} is not in\n{log}");
    }
    for line in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        for secret in [
            &*token,
            "imp=",
            "someone",
            "198.51.100.77",
            "203.0.113.9",
            "Firefox",
            "news.example",
            "secret-page",
            "clk_",
            &world.admin[17..],
        ] {
            assert!(!line.contains(secret), "{secret:?} in {line}");
        }
    }
}
