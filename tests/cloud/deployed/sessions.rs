//! Sessions and the operators' view, on the functions that serve them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickledger_aws::Patience;
use clickledger_core::ports::Measurements;
use clickledger_tests::until;
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, text};

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

/// What the functions write to their logs CloudWatch makes metrics of; the emulator does not, so the test does.
fn measured(world: &World) -> Result<()> {
    let written = until("the delay is in the log of aggregate", PATIENCE, || {
        let lines = world.stack.log("aggregate")?;
        let events = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut found = events.map(|event| event["count_delay_ms"].clone());
        Ok(found.rfind(|delay| !delay.is_null()))
    })?;
    let values = match written.as_array() {
        Some(values) => values.clone(),
        None => vec![written],
    };
    // A batch is taken within a second of its first click, and the emulator is one process on a busy machine.
    let of_now = |delay: &Value| {
        delay
            .as_f64()
            .is_some_and(|delay| (0.0..120_000.0).contains(&delay))
    };
    ensure!(values.iter().all(of_now), "{values:?}");
    let stack = &world.stack;
    let query = stack.environment(stack.output("QueryFunctionName")?)?;
    let namespace = &query["CLICKLEDGER_METRICS_NAMESPACE"];
    let queue = stack.output("SpillQueueUrl")?.rsplit('/').next();
    let dimension = |name, value| json!([{ "Name": name, "Value": value }]);
    let delay = json!({
        "MetricName": "count_delay_ms", "Values": values, "Dimensions": dimension("service", "aggregate"),
    });
    let resort = json!({ "MetricName": "last_resort_records_total", "Value": 2 });
    let age = json!({
        "MetricName": "ApproximateAgeOfOldestMessage", "Value": 5, "Dimensions": dimension("QueueName", queue.context("a queue")?),
    });
    stack.put_metrics(namespace, &json!([delay, resort]))?;
    stack.put_metrics("AWS/SQS", &json!([age]))?;
    let adapter = stack.aws.measurements(namespace.clone(), Patience::UNHURRIED);
    let told = stack.wait(async {
        adapter
            .await?
            .measured(World::now_ms())
            .await
            .map_err(anyhow::Error::from)
    })?;
    ensure!(
        told.spill_age_ms == Some(5_000) && told.last_resort_24h == Some(2),
        "{told:?}"
    );
    Ok(())
}

/// After garbage was put away: it is seen, and so is what else can be told.
pub(crate) fn operators_see_how_the_stack_stands(world: &World) -> Result<()> {
    let (_, key) = world.advertiser_key(9)?;
    world.stack.api.call(&key, "GET", "/v1/operations", None, 403)?;
    measured(world)?;
    let stands = world.call("GET", "/v1/operations", None, 200)?;
    ensure!(
        stands["quarantined_24h"].as_u64().is_some_and(|found| found > 0),
        "{stands}"
    );
    ensure!(stands["spill"]["waiting"].is_u64(), "{stands}");
    for figure in ["clicks_per_second", "as_of"] {
        ensure!(!stands[figure].is_null(), "{stands}");
    }
    ensure!(
        stands["count_delay_ms"]["p99"].is_u64() && stands["last_resort_24h"] == 2,
        "{stands}"
    );
    Ok(())
}
