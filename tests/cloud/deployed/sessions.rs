//! Sessions and the operators' view, on the functions that serve them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickledger_tests::until;
use serde_json::json;

use crate::world::{World, text};

/// A function knows a session for 30 s after it has read it.
const ENDED: Duration = Duration::from_secs(90);
const SESSION: &str = "/dashboard/session";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const OWN: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

pub(crate) fn a_session_reads_from_every_function_and_changes_nothing(world: &World) -> Result<()> {
    let (advertiser, ad, _) = world.shown_ad()?;
    let (rival, rival_ad, _) = world.shown_ad()?;
    let (_, key) = world.advertiser_key(advertiser)?;
    let api = &world.stack.api;
    // The emulator's API drops the cookies of a function's answer, so the function itself is asked.
    let event = json!({
        "version": "2.0", "rawPath": SESSION, "rawQueryString": "",
        "headers": { "content-type": "application/json", "sec-fetch-site": "same-origin" },
        "requestContext": { "http": { "method": "POST", "sourceIp": "198.51.100.7" } },
        "body": json!({ "key": key }).to_string(), "isBase64Encoded": false,
    });
    let query = world.stack.output("QueryFunctionName")?;
    let signed_in = world.stack.invoke(query, &event)?;
    ensure!(signed_in["statusCode"] == 200, "{signed_in}");
    let cookie = text(&signed_in["cookies"][0])?;
    let (pair, attributes) = cookie.split_once("; ").context("attributes")?;
    ensure!(
        attributes == "Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200",
        "{attributes}"
    );
    let with = ("Cookie", pair);
    let status = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| -> Result<u16> {
        Ok(api.send(method, path, headers, body)?.status)
    };
    let range = "from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z";
    // Ads are another function's than counts.
    let (of_ad, of_counts) = (format!("/v1/ads/{ad}"), format!("/v1/ads/{ad}/metrics?{range}"));
    for (path, wanted) in [
        (&of_ad, 200),
        (&of_counts, 200),
        (&format!("/v1/ads/{rival_ad}"), 404),
        (&format!("/v1/advertisers/{rival}/metrics?{range}"), 404),
        (&"/v1/keys".to_owned(), 403),
    ] {
        let found = status("GET", path, &[with, OWN], "")?;
        ensure!(found == wanted, "{path} answers a session {found}");
        for other in [("Sec-Fetch-Site", "cross-site"), ("User-Agent", "x")] {
            let found = status("GET", path, &[with, other], "")?;
            ensure!(found == 401, "{path} answers another page {found}");
        }
    }
    let title = json!({ "title": "Mine now" }).to_string();
    for (method, path, body) in [("PATCH", &*of_ad, &*title), ("POST", "/v1/keys", "{}")] {
        let found = status(method, path, &[with, OWN, JSON], body)?;
        ensure!(found == 401, "{method} {path} answers a session {found}");
    }
    let found = status("DELETE", SESSION, &[with, OWN], "")?;
    ensure!(found == 204, "signing out answers {found}");
    for path in [&of_ad, &of_counts] {
        until("an ended session opens nothing", ENDED, || {
            let found = status("GET", path, &[with, OWN], "")?;
            ensure!([200, 401].contains(&found), "{found}");
            Ok((found == 401).then_some(()))
        })?;
    }
    Ok(())
}

/// After garbage was put away: it is seen, and so is what else can be told.
pub(crate) fn operators_see_how_the_stack_stands(world: &World) -> Result<()> {
    let (_, key) = world.advertiser_key(9)?;
    world.stack.api.call(&key, "GET", "/v1/operations", None, 403)?;
    let stands = world.call("GET", "/v1/operations", None, 200)?;
    ensure!(
        stands["quarantined_24h"].as_u64().is_some_and(|found| found > 0),
        "{stands}"
    );
    ensure!(stands["spill"]["waiting"].is_u64(), "{stands}");
    for figure in ["clicks_per_second", "as_of"] {
        ensure!(!stands[figure].is_null(), "{stands}");
    }
    // What this function cannot know.
    ensure!(
        stands["count_delay_ms"].is_null() && stands["spill"]["oldest_ms"].is_null(),
        "{stands}"
    );
    Ok(())
}
