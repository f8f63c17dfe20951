//! `clickledger demo`: the folder that it fills shows exactly the clicks that it made, sealed, with corrections that have causes.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickledger_tests::server::{Server, command};
use clickledger_tests::{http, until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
/// A Saturday afternoon, so that every kind of day is in the weeks before it. The demo must end in the past.
const END: &str = "2026-01-10T15:20:00Z";

fn demo(data: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = command()?;
    command.args(["demo", "--data"]).arg(data).args(arguments);
    Ok(command.output()?)
}

fn filled(data: &Path, arguments: &[&str]) -> Result<Value> {
    let output = demo(data, arguments)?;
    ensure!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn asked(server: &Server, key: &str, path: &str) -> Result<Value> {
    let authorization = format!("Bearer {key}");
    let answer = http::get(server.url(), path, &[("Authorization", authorization.as_str())])?;
    ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.body);
    Ok(serde_json::from_str(&answer.body)?)
}

/// Sums `clicks` of the rows by a column.
fn by(rows: &Value, column: &str) -> Value {
    let mut sums = serde_json::Map::new();
    for row in rows.as_array().unwrap() {
        let clicks = row["clicks"].as_u64().unwrap();
        let sum = sums
            .entry(row[column].as_str().unwrap())
            .or_insert(Value::from(0));
        *sum = Value::from(sum.as_u64().unwrap() + clicks);
    }
    Value::Object(sums)
}

#[test]
fn a_demo_folder_shows_the_clicks_that_were_made() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("demo");
    let arguments = [
        "--days", "5", "--clicks", "20000", "--seed", "3", "--until", END, "--json",
    ];
    let made = filled(&data, &arguments)?;
    let gross = made["clicked"]["total"]["gross_clicks"]
        .as_u64()
        .context("clicks")?;
    ensure!((18_500..21_500).contains(&gross), "{gross}");
    let verdicts: BTreeSet<&str> = made["clicked"]["total"]["invalid_by_verdict"]
        .as_object()
        .context("verdicts")?
        .keys()
        .map(String::as_str)
        .collect();
    let all = [
        "bad_token",
        "bot",
        "duplicate",
        "expired_token",
        "inactive_ad",
        "missing_token",
        "prefetch",
    ];
    ensure!(verdicts.into_iter().eq(all), "every verdict occurs: {made}");

    let server = Server::start_in(
        &data,
        "127.0.0.1:0",
        &[],
        &[("CLICKLEDGER_RECONCILE_EVERY", "200ms")],
    )?;
    let key = made["admin_key"].as_str().context("a key")?;
    let range = format!(
        "from={}&to={END}&granularity=day",
        made["from"].as_str().context("from")?
    );
    // The server seals what the demo left open, and then everything is final.
    let total = format!("/v1/metrics/total?{range}");
    let page = until("everything is sealed", PATIENCE, || {
        let page = asked(&server, key, &total)?;
        Ok((page["meta"]["state"] == "final").then_some(page))
    })?;
    ensure!(page["rows"].as_array().unwrap().len() == 5);
    let same = |totals: &Value, clicked: &Value| {
        totals["gross_clicks"] == clicked["gross_clicks"]
            && totals["clicks"] == clicked["clicks"]
            && totals["invalid_by_verdict"] == clicked["invalid_by_verdict"]
    };
    let clicked = &made["clicked"]["total"];
    ensure!(
        same(&page["totals"], clicked),
        "{} but made were {clicked}",
        page["totals"]
    );
    for (column, field) in [("device", "by_device"), ("country", "by_country")] {
        let page = asked(&server, key, &format!("{total}&group_by={column}"))?;
        ensure!(
            by(&page["rows"], column) == clicked[field],
            "{column}: {} but made were {clicked}",
            page["rows"]
        );
    }
    let ads = made["clicked"]["ads"].as_object().context("ads")?;
    ensure!(ads.len() > 20);
    for (ad, clicked) in ads {
        let page = asked(&server, key, &format!("/v1/ads/{ad}/metrics?{range}"))?;
        ensure!(
            same(&page["totals"], clicked),
            "ad {ad}: {} but made were {clicked}",
            page["totals"]
        );
    }

    // The outage's clicks came late, those that the restart lost have heirs; nothing else had to be corrected.
    let reports = asked(
        &server,
        key,
        &format!(
            "/v1/reconciliations?from={}&to={END}&limit=1000",
            made["from"].as_str().unwrap()
        ),
    )?;
    let mut causes = BTreeSet::new();
    for report in reports["items"].as_array().unwrap() {
        ensure!(report["outcome"] != "disputed", "{report}");
        if report["corrections"] != 0 {
            let hour = report["hour"].as_str().unwrap();
            let corrections = asked(
                &server,
                key,
                &format!("/v1/reconciliations/{hour}/corrections?limit=1000"),
            )?;
            let of_hour = corrections["items"].as_array().unwrap().iter();
            causes.extend(of_hour.map(|item| item["cause"].as_str().unwrap().to_owned()));
        }
    }
    ensure!(causes.iter().eq(["late", "promoted"]), "{causes:?}");

    // Each key opens what it is for.
    let advertiser = made["advertiser_key"].as_str().context("a key")?;
    let own = made["advertiser_id"].as_str().context("an advertiser")?;
    asked(
        &server,
        advertiser,
        &format!("/v1/advertisers/{own}/metrics?{range}"),
    )?;
    let authorization = format!("Bearer {advertiser}");
    let other = http::get(
        server.url(),
        &format!("/v1/advertisers/102/metrics?{range}"),
        &[("Authorization", authorization.as_str())],
    )?;
    ensure!(other.status == 404, "{other:?}");
    let slot = made["publisher_slot"].as_str().context("a slot")?;
    let placement = asked(&server, key, &format!("/v1/placements/{slot}"))?;
    let publisher = made["publisher_key"].as_str().context("a key")?;
    let id = placement["placement_id"].as_str().context("an id")?;
    asked(
        &server,
        publisher,
        &format!("/v1/placements/{id}/metrics?{range}"),
    )?;

    // Nothing is written into a folder that holds something.
    let again = demo(&data, &arguments)?;
    let said = String::from_utf8_lossy(&again.stderr);
    ensure!(
        again.status.code() == Some(1) && said.contains("is not empty"),
        "{again:?}"
    );
    Ok(())
}

#[test]
fn the_same_seed_makes_the_same_clicks_and_another_one_others() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let clicked = |name: &str, seed: &str| -> Result<Value> {
        let arguments = [
            "--days", "3", "--clicks", "2000", "--seed", seed, "--until", END, "--json",
        ];
        Ok(filled(&dir.path().join(name), &arguments)?["clicked"].take())
    };
    let first = clicked("first", "8")?;
    ensure!(
        first == clicked("second", "8")?,
        "the same seed gave other clicks"
    );
    ensure!(
        first != clicked("third", "9")?,
        "another seed gave the same clicks"
    );
    Ok(())
}

#[test]
fn wrong_arguments_are_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (arguments, said) in [
        (&["--days", "2"][..], "3..=366"),
        (&["--clicks", "10"], "1000..=20000000"),
        (&["--until", "tomorrow"], "must not lie in the future"),
        (&["--until", "soon"], "must be a time such as"),
    ] {
        let output = demo(&dir.path().join("new"), arguments)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && stderr.contains(said),
            "{arguments:?}: {stderr}"
        );
    }
    ensure!(!dir.path().join("new").exists(), "nothing was made");
    Ok(())
}
