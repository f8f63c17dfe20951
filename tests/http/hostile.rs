//! Whoever means ill: tokens, destinations, texts and parameters that try to be something else.

use std::fmt::Write;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clickledger_core::domain::verdict::Verdict;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{World, get, request, with};

const URL: &str = "https://shop-9.example/offer?a=1";

/// Every byte escaped, so that any bytes can be a parameter.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02X}").unwrap();
        text
    })
}

/// Clicks with these escaped tokens; all redirect, none counts as valid.
async fn none_is_valid(world: &World, ad: &str, tokens: &[String]) {
    for some in tokens.chunks(100) {
        let clicks = some.iter().map(|token| async move {
            let answer = world.send(get(&format!("/click?adId={ad}&imp={token}"))).await;
            assert_eq!(answer.status, StatusCode::FOUND, "{token}: {}", answer.text());
            assert_eq!(answer.header("location"), Some(URL), "{token}");
        });
        join_all(clicks).await;
    }
    let records = world.recorded().await;
    assert_eq!(records.len(), tokens.len());
    for record in records {
        assert!(
            matches!(record.verdict, Verdict::BadToken | Verdict::MissingToken),
            "{record:?}"
        );
        assert_eq!(record.impression_id, None);
        assert_eq!(record.placement_id, None);
    }
}

#[tokio::test]
async fn a_token_with_any_bit_flipped_redirects_and_never_counts_as_valid() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.slot("top", &[&ad]).await;
    let token = world.token("top").await;
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    let mut tokens = Vec::new();
    for bit in 0..token.len() * 8 {
        let mut changed = token.clone().into_bytes();
        changed[bit / 8] ^= 1 << (bit % 8);
        tokens.push(escaped(&changed));
    }
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        tokens.push(URL_SAFE_NO_PAD.encode(changed));
    }
    assert_eq!(tokens.len(), (72 + 54) * 8);
    none_is_valid(&world, &ad, &tokens).await;
    // The token itself is good, and still unused.
    let answer = world.send(get(&format!("/click?adId={ad}&imp={token}"))).await;
    assert_eq!(answer.status, StatusCode::FOUND);
    let valid = world.recorded().await;
    assert_eq!(valid.iter().filter(|record| record.verdict.is_valid()).count(), 1);
}

#[tokio::test]
async fn tokens_of_every_length_redirect_and_never_count_as_valid() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.slot("top", &[&ad]).await;
    let token = world.token("top").await;
    let mut tokens = Vec::new();
    for length in 0..=200 {
        tokens.push("A".repeat(length));
        tokens.push(escaped(&vec![0xff; length]));
        if length != token.len() {
            tokens.push(token.chars().cycle().take(length).collect());
        }
    }
    tokens.push(format!("{token}%00"));
    tokens.push(format!("%20{token}"));
    tokens.push(format!("{token}%0d%0aSet-Cookie:%20a=b"));
    tokens.push(token.to_lowercase());
    tokens.push("x".repeat(7000));
    none_is_valid(&world, &ad, &tokens).await;
}

#[tokio::test]
async fn redirect_tricks_are_refused_when_an_ad_is_made_or_changed() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    let mut tricks: Vec<String> =
        serde_json::from_str(include_str!("../fixtures/redirect_tricks.json")).unwrap();
    assert!(tricks.len() >= 60);
    tricks.push(format!("https://example.com/{}", "a".repeat(2048)));
    for trick in tricks {
        let body = json!({ "advertiser_id": "9", "campaign_id": "1009", "redirect_url": trick });
        let made = world.ask("POST", "/v1/ads", Some(body)).await;
        made.problem_with(422, "invalid-redirect-url", "redirect_url");
        let changed = world
            .ask(
                "PATCH",
                &format!("/v1/ads/{ad}"),
                Some(json!({ "redirect_url": trick })),
            )
            .await;
        changed.problem_with(422, "invalid-redirect-url", "redirect_url");
    }
    let ads = world.ask("GET", "/v1/ads", None).await.json();
    assert_eq!(ads["items"].as_array().unwrap().len(), 1);
    assert_eq!(ads["items"][0]["redirect_url"], URL);
}

#[tokio::test]
async fn no_parameter_reaches_a_header_of_the_answer() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    world.slot("top", &[&ad]).await;
    let plain = world.send(get(&format!("/click?adId={ad}"))).await;
    for evil in [
        "%0d%0aSet-Cookie:%20a=b",
        "%0aLocation:%20https://evil.example",
        "%0d",
        "%00",
        "%E5%98%8A%E5%98%8DSet-Cookie:%20a=b",
        "%E2%80%A8x",
        "%C4%8D%C4%8A",
        "%u000d%u000a",
        "\\r\\n",
        "https://evil.example",
        "%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    ] {
        for path in [
            format!("/click?adId={ad}&imp={evil}"),
            format!("/click?{evil}&adId={ad}"),
            format!("/click?adId={ad}&{evil}={evil}"),
            format!("/click?adId={ad}&url={evil}&to={evil}&next={evil}"),
        ] {
            let answer = world.send(get(&path)).await;
            assert_eq!(answer.status, StatusCode::FOUND, "{path}");
            assert_eq!(answer.headers, plain.headers, "{path}");
            assert!(answer.body.is_empty());
        }
        for path in [
            format!("/click?adId={ad}{evil}"),
            format!("/click?adId={evil}"),
            format!("/v1/placements/{evil}"),
            format!("/v1/placements/top?{evil}={evil}"),
            format!("/v1/ads?cursor={evil}"),
            format!("/v1/ads?{evil}"),
            format!("/v1/ads/{evil}"),
            format!("/v1/keys/{evil}"),
            format!("/{evil}"),
        ] {
            let answer = world.ask("GET", &path, None).await;
            assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            for (name, value) in &answer.headers {
                let value = value.to_str().unwrap();
                assert!(
                    !value.contains("evil") && !value.contains("script") && !value.contains("a=b"),
                    "{path}: {name}: {value}"
                );
            }
            assert_eq!(answer.header("set-cookie"), None);
            assert_eq!(answer.header("location"), None);
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
    }
    // Headers of the request are no more dangerous: bytes that are no text at all among them.
    for name in [
        "user-agent",
        "referer",
        "accept",
        "sec-purpose",
        "x-forwarded-for",
        "forwarded",
    ] {
        for evil in [
            "\u{e4}\u{fc}",
            "\t",
            "\"><script>alert(1)</script>",
            &"x".repeat(8000),
            "a,,;;==\"'",
        ] {
            let answer = world
                .send(with(get(&format!("/click?adId={ad}")), name, evil))
                .await;
            assert_eq!(answer.status, StatusCode::FOUND, "{name}: {evil}");
            assert_eq!(answer.headers, plain.headers, "{name}: {evil}");
            let shown = world.send(with(get("/v1/placements/top"), name, evil)).await;
            assert_eq!(shown.status, StatusCode::OK, "{name}: {evil}");
        }
    }
}

#[tokio::test]
async fn what_an_advertiser_wrote_stays_text_in_the_fragment() {
    let world = World::new().await;
    let titles = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</span></a><iframe src=javascript:alert(1)>",
        "&lt;script&gt;",
        "]]><!--",
        "${alert(1)} {{7*7}} `x`",
    ];
    for (n, title) in titles.iter().enumerate() {
        let body = json!({
            "advertiser_id": "9",
            "campaign_id": "12",
            "redirect_url": "https://shop.example/",
            "title": title,
            "image_url": "https://shop.example/a?b='onerror='alert(1)&c=%3Cx%3E#'\"<>",
        });
        let made = world.ask("POST", "/v1/ads", Some(body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        let ad = made.json()["ad_id"].as_str().unwrap().to_owned();
        let slot = format!("slot-{n}");
        world.slot(&slot, &[&ad]).await;
        let shown = world
            .send(with(
                get(&format!("/v1/placements/{slot}")),
                "accept",
                "text/html",
            ))
            .await;
        assert_eq!(shown.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(
            shown
                .header("content-security-policy")
                .is_some_and(|policy| policy.starts_with("default-src 'none'"))
        );
        let html = shown.text();
        // One anchor, one image, one text: nothing that was written by an advertiser is markup.
        assert_eq!(html.matches('<').count(), 5, "{html}");
        assert_eq!(html.matches('>').count(), 5, "{html}");
        assert_eq!(html.matches('"').count(), 12, "{html}");
        assert!(!html.contains('\''), "{html}");
        let text = html
            .split("<span>")
            .nth(1)
            .and_then(|rest| rest.split("</span>").next())
            .unwrap()
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&");
        assert_eq!(text, *title);
    }
}

#[tokio::test]
async fn titles_that_break_or_turn_the_line_around_them_are_refused() {
    let world = World::new().await;
    for title in [
        "a\r\nSet-Cookie: a=b",
        "a\u{0}",
        "a\u{1b}[31m",
        "a\u{202e}b",
        "a\u{2028}b",
        "a\u{2066}b",
        "\u{feff}",
        "   ",
        "",
        &"x".repeat(201),
    ] {
        let body = json!({
            "advertiser_id": "9", "campaign_id": "12", "redirect_url": "https://shop.example/", "title": title,
        });
        let made = world.ask("POST", "/v1/ads", Some(body)).await;
        made.problem_with(400, "invalid-body", "title");
    }
}

#[tokio::test]
async fn malformed_and_oversized_bodies_are_refused_everywhere() {
    let world = World::new().await;
    let ad = world.ad(9).await;
    let endpoints = [
        ("POST", "/v1/ads".to_owned()),
        ("PATCH", format!("/v1/ads/{ad}")),
        ("PUT", "/v1/placements/top".to_owned()),
        ("POST", "/v1/keys".to_owned()),
    ];
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let huge = format!("{{\"title\":\"{}\"}}", "x".repeat(70_000));
    for (method, path) in &endpoints {
        for (body, status, kind) in [
            (&b""[..], 400, "invalid-body"),
            (b"{", 400, "invalid-body"),
            (b"null", 400, "invalid-body"),
            (b"[]", 400, "invalid-body"),
            (
                b"[\"9\",\"12\",\"https://shop.example/\",null,null,null,null]",
                400,
                "invalid-body",
            ),
            (b"\"x\"", 400, "invalid-body"),
            (b"{} {}", 400, "invalid-body"),
            (b"{\"unknown\":1}", 400, "invalid-body"),
            (b"{\"title\":\"a\",\"title\":\"b\"}", 400, "invalid-body"),
            (b"{\"title\":\"\xff\xfe\"}", 400, "invalid-body"),
            (b"{\"title\":\"\\ud800\"}", 400, "invalid-body"),
            (b"{\"advertiser_id\":9}", 400, "invalid-body"),
            (b"{\"advertiser_id\":\"0\"}", 400, "invalid-body"),
            (
                b"{\"advertiser_id\":\"9223372036854775808\"}",
                400,
                "invalid-body",
            ),
            (b"{\"fan_out\":1e999}", 400, "invalid-body"),
            (b"{\"__proto__\":{}}", 400, "invalid-body"),
            (b"\x1f\x8b\x08\x00", 400, "invalid-body"),
            (deep.as_bytes(), 400, "invalid-body"),
            (huge.as_bytes(), 413, "body-too-large"),
        ] {
            let mut asked = request(method, path, Some(&world.admin), Some(Value::Null));
            *asked.body_mut() = axum::body::Body::from(body.to_vec());
            world.send(asked).await.problem(status, kind);
        }
        for media_type in [
            "text/plain",
            "application/xml",
            "multipart/form-data",
            "",
            "application/jsonp",
        ] {
            let mut asked = request(method, path, Some(&world.admin), Some(json!({})));
            asked
                .headers_mut()
                .insert("content-type", media_type.parse().unwrap());
            world.send(asked).await.problem(415, "unsupported-media-type");
        }
        let mut asked = request(method, path, Some(&world.admin), Some(json!({})));
        asked.headers_mut().remove("content-type");
        world.send(asked).await.problem(415, "unsupported-media-type");
    }
}
