//! `/click`: where it leads, what it counts, whom it believes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::PortError;
use clickledger_http::{EdgeConfig, Forwarding, ProxySecret, TrustedProxy};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tower::ServiceExt;

use crate::world::{Mode, World, get, request, with};

const URL: &str = "https://shop-9.example/offer?a=1";
const SECRET: &str = "0123456789abcdef-secret";

async fn with_slot(config: EdgeConfig) -> (World, String) {
    let world = World::with(config).await;
    let ad = world.ad(9).await;
    world.slot("top", &[&ad]).await;
    (world, ad)
}

fn post(path: &str, media_type: Option<&str>, body: &str) -> Request<Body> {
    let mut request = request("POST", path, None, None);
    *request.body_mut() = Body::from(body.to_owned());
    if let Some(media_type) = media_type {
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_click_redirects_to_the_ads_url_and_is_recorded_once_as_valid() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let token = world.token("top").await;
    let answer = world.send(get(&format!("/click?adId={ad}&imp={token}"))).await;
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(answer.header("location"), Some(URL));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("clickledger-recorded"), None);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(answer.body.is_empty());
    assert_eq!(world.verdicts().await, ["valid"]);

    world.clock.advance(1);
    let again = world.send(get(&format!("/click?adId={ad}&imp={token}"))).await;
    assert_eq!(again.header("location"), Some(URL));
    assert_eq!(world.verdicts().await, ["valid", "duplicate"]);
}

#[tokio::test]
async fn head_answers_as_get_and_counts_nothing() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let token = world.token("top").await;
    let path = format!("/click?adId={ad}&imp={token}");
    let head = world.send(request("HEAD", &path, None, None)).await;
    assert_eq!(world.verdicts().await, Vec::<&str>::new());
    let get = world.send(get(&path)).await;
    assert_eq!(head.status, get.status);
    assert_eq!(head.headers, get.headers);
    assert_eq!(world.verdicts().await, ["valid"]);
    let unknown = world.send(request("HEAD", "/click?adId=1", None, None)).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn options_is_answered_and_counts_nothing() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let token = world.token("top").await;
    let path = format!("/click?adId={ad}&imp={token}");
    let answer = world.send(request("OPTIONS", &path, None, None)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(world.verdicts().await, Vec::<&str>::new());
}

#[tokio::test]
async fn a_beacon_counts_with_its_parameters_in_query_or_body_and_is_answered_204() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let forms = [
        (format!("/click?adId={ad}&imp=%TOKEN%"), None, String::new()),
        (
            "/click".to_owned(),
            Some("text/plain;charset=UTF-8"),
            format!("adId={ad}&imp=%TOKEN%"),
        ),
        (
            "/click".to_owned(),
            Some("application/x-www-form-urlencoded;charset=UTF-8"),
            format!("imp=%TOKEN%&adId={ad}\r\n"),
        ),
        (
            format!("/click?adId={ad}"),
            Some("TEXT/PLAIN"),
            "imp=%TOKEN%&adId=999".to_owned(),
        ),
    ];
    for (n, (path, media_type, body)) in forms.iter().enumerate() {
        let token = world.token("top").await;
        let answer = world
            .send(post(
                &path.replace("%TOKEN%", &token),
                *media_type,
                &body.replace("%TOKEN%", &token),
            ))
            .await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("location"), None);
        assert_eq!(world.verdicts().await, vec!["valid"; n + 1]);
    }
}

#[tokio::test]
async fn a_beacon_that_cannot_be_read_is_refused_with_a_problem_that_pages_may_see() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let adid = format!("adId={ad}");
    let huge = format!("adId={ad}&x={}", "x".repeat(70_000));
    for (media_type, body, status, kind) in [
        (Some("multipart/form-data"), &*adid, 415, "unsupported-media-type"),
        (Some("application/json"), &*adid, 415, "unsupported-media-type"),
        (None, &*adid, 415, "unsupported-media-type"),
        (Some("text/plain"), &*huge, 413, "body-too-large"),
        (Some("text/plain"), "imp=x", 400, "invalid-parameter"),
        (Some("text/plain"), "adId=1", 404, "not-found"),
        (None, "", 400, "invalid-parameter"),
    ] {
        let answer = world.send(post("/click", media_type, body)).await;
        answer.problem(status, kind);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    assert_eq!(world.verdicts().await, Vec::<&str>::new());
}

#[tokio::test]
async fn an_unknown_ad_is_404_and_a_missing_or_bad_ad_id_400() {
    let (world, _) = with_slot(EdgeConfig::default()).await;
    world
        .send(get("/click?adId=9223372036854775807"))
        .await
        .problem(404, "not-found");
    for query in [
        "",
        "?",
        "?adId",
        "?adId=",
        "?adid=1",
        "?adId=0",
        "?adId=01",
        "?adId=-1",
        "?adId=%2B1",
        "?adId=+1",
        "?adId=1%00",
        "?adId=1%0d%0aLocation:%20https://evil.example",
        "?adId=9223372036854775808",
        "?adId=1e3",
        "?adId=%FF%FE",
        "?adId=%",
        "?adId=%EF%BC%91",
        "?adId=x&adId=1",
        "?&&&;",
        "?adId[]=1",
    ] {
        world
            .send(get(&format!("/click{query}")))
            .await
            .problem_with(400, "invalid-parameter", "adId");
    }
    assert_eq!(world.verdicts().await, Vec::<&str>::new());
}

#[tokio::test]
async fn of_a_repeated_parameter_the_first_counts_and_unknown_ones_mean_nothing() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let other = world.ad(8).await;
    let token = world.token("top").await;
    let path = format!(
        "/click?utm_source=a%00b&adId={ad}&adId={other}&imp={token}&imp=forged&url=https://evil.example&redirect_url=//evil.example"
    );
    let answer = world.send(get(&path)).await;
    assert_eq!(answer.header("location"), Some(URL));
    assert_eq!(world.verdicts().await, ["valid"]);
    // Escaped or not, it is the same parameter.
    let token = world.token("top").await.replace('A', "%41");
    let answer = world.send(get(&format!("/click?%61dId={ad}&imp={token}"))).await;
    assert_eq!(answer.header("location"), Some(URL));
    assert_eq!(world.verdicts().await, ["valid", "valid"]);
}

#[tokio::test]
async fn whatever_the_verdict_a_known_ad_redirects() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let other = world.ad(8).await;
    world.slot("other", &[&other]).await;
    let foreign = world.token("other").await;
    let mut expected = Vec::new();
    let mut click = async |token: Option<String>, change: fn(Request<Body>) -> Request<Body>, verdict| {
        let imp = token.map(|token| format!("&imp={token}")).unwrap_or_default();
        let answer = world.send(change(get(&format!("/click?adId={ad}{imp}")))).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{verdict}");
        assert_eq!(answer.header("location"), Some(URL));
        expected.push(verdict);
        assert_eq!(world.verdicts().await, expected);
        world.clock.advance(1);
    };
    let same = |request: Request<Body>| request;
    click(None, same, "missing_token").await;
    click(Some(String::new()), same, "missing_token").await;
    click(Some("x".to_owned()), same, "bad_token").await;
    click(Some(foreign), same, "bad_token").await;
    for ahead in [
        (|r| with(r, "sec-purpose", "prefetch")) as fn(Request<Body>) -> Request<Body>,
        |r| with(r, "sec-purpose", "prefetch;prerender"),
        |r| with(r, "purpose", "Prefetch"),
        |r| with(r, "x-moz", "prefetch"),
        |r| with(r, "x-purpose", "preview"),
    ] {
        click(Some(world.token("top").await), ahead, "prefetch").await;
    }
    click(
        Some(world.token("top").await),
        |mut r| {
            r.headers_mut().remove(header::USER_AGENT);
            r
        },
        "bot",
    )
    .await;
    click(
        Some(world.token("top").await),
        |mut r| {
            r.headers_mut().remove(header::USER_AGENT);
            with(r, "user-agent", "Googlebot/2.1")
        },
        "bot",
    )
    .await;
    let late = world.token("top").await;
    let inactive = world.token("top").await;
    world.clock.advance(24 * 3_600_000);
    click(Some(late), same, "expired_token").await;
    world.clock.advance(-24 * 3_600_000);
    let patch = serde_json::json!({ "status": "paused" });
    let paused = world.ask("PATCH", &format!("/v1/ads/{ad}"), Some(patch)).await;
    assert_eq!(paused.status, StatusCode::OK, "{}", paused.text());
    // The clock went back: the order of click ids is no longer the order of clicks.
    let answer = world.send(get(&format!("/click?adId={ad}&imp={inactive}"))).await;
    assert_eq!(answer.header("location"), Some(URL));
    let records = world.recorded().await;
    assert_eq!(
        records
            .iter()
            .filter(|record| record.verdict == Verdict::InactiveAd)
            .count(),
        1
    );
}

#[tokio::test]
async fn while_the_catalogue_is_down_a_click_is_answered_503_and_asked_to_come_again() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    world.catalog.set(Mode::Down);
    for method in ["GET", "POST"] {
        let answer = world
            .send(request(method, &format!("/click?adId={ad}"), None, None))
            .await;
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let head = world
        .send(request("HEAD", &format!("/click?adId={ad}"), None, None))
        .await;
    assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE);
    world.catalog.set(Mode::Works);
    assert_eq!(
        world.send(get(&format!("/click?adId={ad}"))).await.status,
        StatusCode::FOUND
    );
}

#[tokio::test]
async fn a_click_that_nobody_could_record_redirects_and_says_so() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let path = format!("/click?adId={ad}");
    world.gate.refuse(PortError::unavailable("the disk is full"));
    let answer = world.send(get(&path)).await;
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(answer.header("location"), Some(URL));
    assert_eq!(answer.header("clickledger-recorded"), Some("false"));
    let beacon = world.send(request("POST", &path, None, None)).await;
    assert_eq!(beacon.status, StatusCode::NO_CONTENT);
    assert_eq!(beacon.header("clickledger-recorded"), Some("false"));
    assert_eq!(
        beacon.header("access-control-expose-headers"),
        Some("clickledger-recorded")
    );
    world.gate.open();
    let answer = world.send(get(&path)).await;
    assert_eq!(answer.header("clickledger-recorded"), None);
    assert_eq!(world.verdicts().await, ["missing_token"]);
}

#[tokio::test]
async fn a_click_whose_connection_is_closed_half_way_is_counted_all_the_same() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let token = world.token("top").await;
    let path = format!("/click?adId={ad}&imp={token}");
    world.gate.hold();
    let click = world.router.clone().oneshot(get(&path));
    let waited = tokio::time::timeout(Duration::from_millis(50), click).await;
    assert!(waited.is_err(), "a click that is not on the disk was answered");
    world.gate.open();
    // Nothing of the click is awaited any more, and still:
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.verdicts().await != ["valid"] {
        assert!(Instant::now() < deadline, "{:?}", world.verdicts().await);
        tokio::task::yield_now().await;
    }
    world.clock.advance(1);
    world.send(get(&path)).await;
    assert_eq!(world.verdicts().await, ["valid", "duplicate"]);
}

fn behind(hops: u8, forwarding: Forwarding) -> EdgeConfig {
    EdgeConfig {
        trusted_proxy: Some(TrustedProxy {
            hops,
            secret_header: "x-proxy-secret".parse().unwrap(),
            secret: ProxySecret::new(SECRET).unwrap(),
            forwarding,
        }),
        ..EdgeConfig::default()
    }
}

/// The network and the country that were recorded for a click with these headers.
async fn seen(config: EdgeConfig, headers: &[(&'static str, &str)]) -> (Option<String>, String) {
    let (world, ad) = with_slot(config).await;
    let mut click = get(&format!("/click?adId={ad}"));
    for (name, value) in headers {
        click = with(click, name, value);
    }
    assert_eq!(world.send(click).await.status, StatusCode::FOUND);
    let record = world.recorded().await.pop().unwrap();
    (record.network, record.country.to_string())
}

const PEER: &str = "198.51.100.0/24";

#[tokio::test]
async fn forged_forwarding_and_country_headers_are_ignored() {
    let forged = [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("cf-connecting-ip", "203.0.113.9"),
        ("cloudfront-viewer-country", "DE"),
        ("cf-ipcountry", "DE"),
    ];
    let peer = (Some(PEER.to_owned()), "ZZ".to_owned());
    assert_eq!(seen(EdgeConfig::default(), &forged).await, peer);
    let trusting = || behind(1, Forwarding::XForwardedFor);
    assert_eq!(seen(trusting(), &forged).await, peer);
    for wrong in [
        "",
        "x",
        &SECRET[1..],
        &format!("{SECRET}x"),
        &SECRET.to_uppercase(),
    ] {
        let mut headers = forged.to_vec();
        headers.push(("x-proxy-secret", wrong));
        assert_eq!(seen(trusting(), &headers).await, peer, "{wrong:?}");
    }
    // A client that sends a secret beside the proxy's own is no proxy.
    let mut twice = forged.to_vec();
    twice.extend([("x-proxy-secret", "guess"), ("x-proxy-secret", SECRET)]);
    assert_eq!(seen(trusting(), &twice).await, peer);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_as_far_as_it_speaks_itself() {
    let said = |network: Option<&str>, country: &str| (network.map(str::to_owned), country.to_owned());
    let secret = ("x-proxy-secret", SECRET);
    let country = ("cloudfront-viewer-country", "de");
    let near = Some("203.0.113.0/24");
    let one = || behind(1, Forwarding::XForwardedFor);
    for (list, network) in [
        ("203.0.113.9", near),
        ("10.0.0.1, 203.0.113.9", near),
        ("garbage, \"x, 1.1.1.1,203.0.113.9:4711", near),
        ("203.0.113.9, unknown", None),
        ("203.0.113.9, ", None),
        ("", None),
    ] {
        assert_eq!(
            seen(one(), &[secret, country, ("x-forwarded-for", list)]).await,
            said(network, "DE"),
            "{list:?}"
        );
    }
    // The last line counts, and the header that was not chosen doesn't.
    let lines = [
        secret,
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=192.0.2.2"),
    ];
    assert_eq!(seen(one(), &lines).await, said(near, "ZZ"));
    let two = || behind(2, Forwarding::XForwardedFor);
    let list = ("x-forwarded-for", "192.0.2.1, 203.0.113.9, 10.0.0.1");
    assert_eq!(seen(two(), &[secret, list]).await, said(near, "ZZ"));
    // One entry short: what is there was not added by the far proxy.
    let short = ("x-forwarded-for", "203.0.113.9");
    assert_eq!(seen(two(), &[secret, short]).await, said(None, "ZZ"));
    let forwarded = (
        "forwarded",
        "for=192.0.2.1, for=\"[2001:db8:1:2::3]:80\";proto=https",
    );
    assert_eq!(
        seen(behind(1, Forwarding::Forwarded), &[secret, forwarded]).await,
        said(Some("2001:db8:1::/48"), "ZZ")
    );
    for country in ["XX", "DEU", "d", "<script>", "\u{e4}\u{f6}"] {
        let headers = [secret, ("cloudfront-viewer-country", country)];
        assert_eq!(seen(one(), &headers).await, said(None, "ZZ"), "{country}");
    }
}

#[tokio::test]
async fn who_asks_for_privacy_leaves_nothing_but_device_and_country() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let click = get(&format!("/click?adId={ad}"));
    let click = with(click, "referer", "https://news.example/a?user=1");
    assert_eq!(
        world.send(with(click, "sec-gpc", "1")).await.status,
        StatusCode::FOUND
    );
    let record = world.recorded().await.pop().unwrap();
    assert_eq!(record.network, None);
    assert_eq!(record.client_hash, None);
    assert_eq!(record.agent_hash, None);
    assert_eq!(record.referrer_host, None);
    assert_eq!(record.device.as_str(), "desktop");

    world.clock.advance(1);
    let click = get(&format!("/click?adId={ad}"));
    let click = with(click, "referer", "https://news.example/a?user=1");
    world.send(click).await;
    let record = world.recorded().await.pop().unwrap();
    assert_eq!(record.network.as_deref(), Some(PEER));
    assert!(record.client_hash.is_some() && record.agent_hash.is_some());
    assert_eq!(record.referrer_host.as_deref(), Some("news.example"));
}

/// Holds counters by name and labels.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Counters {
    fn now(&self) -> BTreeMap<String, u64> {
        let counters = self.0.lock().unwrap();
        counters
            .iter()
            .map(|(name, count)| (name.clone(), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<&str> = key.labels().map(|label| label.value()).collect();
        let name = format!("{} {}", key.name(), labels.join(","));
        Counter::from_arc(Arc::clone(
            self.0.lock().unwrap().entry(name.trim().to_owned()).or_default(),
        ))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn clicks_are_counted_by_verdict_and_by_what_became_of_them() {
    let (world, ad) = with_slot(EdgeConfig::default()).await;
    let counters = Counters::default();
    let router = metrics::with_local_recorder(&counters, || {
        clickledger_http::router(world.services.clone(), EdgeConfig::default())
    });
    let world = World { router, ..world };
    let token = world.token("top").await;
    let path = format!("/click?adId={ad}&imp={token}");
    world.send(request("HEAD", &path, None, None)).await;
    world.send(request("OPTIONS", &path, None, None)).await;
    for path in [
        &*path,
        &path,
        "/click?adId=1",
        "/click",
        &format!("/click?adId={ad}"),
    ] {
        world.send(get(path)).await;
    }
    world.gate.refuse(PortError::unavailable("the disk is full"));
    world.send(post(&format!("/click?adId={ad}"), None, "")).await;
    world.catalog.set(Mode::Down);
    world.send(get(&path)).await;
    let expected = [
        ("clicks_refused_total invalid", 1),
        ("clicks_refused_total unavailable", 1),
        ("clicks_refused_total unknown_ad", 1),
        ("clicks_total duplicate", 1),
        ("clicks_total missing_token", 2),
        ("clicks_total valid", 1),
        ("clicks_unrecorded_total", 1),
        ("impressions_total", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counters.now(), BTreeMap::from(expected));
}
