//! A year of raw clicks, sealed, and read by the day in four time zones: the sums are those of a count of the raw lines.
//!
//! The command and the server are the real ones; the count knows nothing of minutes, hours or quarters, only of lines, each
//! click once, and of what the zone's clock said when it was made.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::time::Hour;
use clickledger_core::service::keys::KeysService;
use clickledger_embedded::{Embedded, OpenOptions, SystemClock, SystemEntropy};
use clickledger_testkit::fixtures::ClickMaker;
use clickledger_tests::http;
use clickledger_tests::server::{Server, command};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

/// Half hours, whole hours, daylight saving, and daylight saving by half an hour.
const ZONES: [&str; 4] = ["UTC", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"];
const SEED: u64 = 31;
/// One line in so many lies there twice.
const REPEATED: usize = 40;

/// By the local day: clicks by verdict.
type Days = BTreeMap<String, BTreeMap<String, u64>>;

/// A folder whose lake has so many clicks in the days of UTC that touch `from..to` in any zone; its administrator's key.
async fn folder(dir: &Path, from: Date, to: Date, clicks_per_day: u64) -> Result<String> {
    let store = Embedded::open(dir, OpenOptions::default())?;
    let keys = KeysService::new(
        std::sync::Arc::new(store.keys()),
        std::sync::Arc::new(SystemClock),
        std::sync::Arc::new(SystemEntropy),
    );
    let (_, key) = keys.create(Scope::Admin).await?;
    store.close().await;
    let (first, last) = around(from, to)?;
    let mut maker = ClickMaker::new(SEED, 3, first, clicks_per_day as f64 / 86_400.0);
    let mut partitions: BTreeMap<Hour, Vec<u8>> = BTreeMap::new();
    for n in 1.. {
        let click = maker.record();
        if click.clicked_at_ms >= last {
            break;
        }
        let lines = partitions.entry(Hour::of(click.clicked_at_ms + 80)).or_default();
        for _ in 0..1 + usize::from(n % REPEATED == 0) {
            lines.write_all(&click.to_line()?)?;
        }
    }
    for (hour, lines) in partitions {
        let start = Timestamp::from_millisecond(hour.start_ms())?;
        let partition = dir
            .join("lake")
            .join(start.strftime("dt=%Y-%m-%d/hr=%H").to_string());
        std::fs::create_dir_all(&partition)?;
        std::fs::write(partition.join("shardId-000000000000.ndjson"), lines)?;
    }
    Ok(key)
}

/// Whole days of UTC that hold these days of every zone, Unix milliseconds.
fn around(from: Date, to: Date) -> Result<(i64, i64)> {
    let utc = |date: Date| -> Result<i64> { Ok(date.in_tz("UTC")?.timestamp().as_millisecond()) };
    Ok((utc(from.checked_sub(1.day())?)?, utc(to.checked_add(1.day())?)?))
}

/// What the raw lines say of these days of a zone.
fn counted(dir: &Path, from: Date, to: Date, zone: &str) -> Result<Days> {
    let zone = TimeZone::get(zone)?;
    let (mut days, mut seen, mut repeats) = (Days::new(), HashSet::new(), 0);
    for day in std::fs::read_dir(dir.join("lake"))? {
        for hour in std::fs::read_dir(day?.path())? {
            for file in std::fs::read_dir(hour?.path())? {
                for line in std::fs::read_to_string(file?.path())?.lines() {
                    let click: Value = serde_json::from_str(line)?;
                    let text =
                        |name: &str| Ok::<_, anyhow::Error>(click[name].as_str().context("text")?.to_owned());
                    if !seen.insert(text("click_id")?) {
                        repeats += 1;
                        continue;
                    }
                    let at = click["clicked_at_ms"].as_i64().context("clicked_at_ms")?;
                    let local = Timestamp::from_millisecond(at)?
                        .to_zoned_datetime(zone.clone())
                        .date();
                    if from <= local && local < to {
                        *days
                            .entry(local.to_string())
                            .or_default()
                            .entry(text("verdict")?)
                            .or_default() += 1;
                    }
                }
            }
        }
    }
    ensure!(repeats > 10, "{repeats} repeats");
    Ok(days)
}

/// What the server says of them; all of it must be final.
fn answered(server: &Server, key: &str, from: Date, to: Date, zone: &str) -> Result<Days> {
    let at = |date: Date| -> Result<Timestamp> { Ok(date.in_tz(zone)?.timestamp()) };
    let path = format!(
        "/v1/metrics/total?from={}&to={}&granularity=day&tz={}",
        at(from)?,
        at(to)?,
        zone.replace('/', "%2F")
    );
    let authorization = format!("Bearer {key}");
    let mut days = Days::new();
    let ask = |path: &str| -> Result<Value> {
        let answer = http::get(server.url(), path, &[("Authorization", authorization.as_str())])?;
        ensure!(answer.status == 200, "{path}: {}", answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    };
    let (all, by_verdict) = (ask(&path)?, ask(&format!("{path}&group_by=verdict"))?);
    ensure!(all["meta"]["state"] == "final", "{}", all["meta"]);
    let name = |row: &Value| Some(row["start"].as_str()?.split_once('T')?.0.to_owned());
    for row in by_verdict["rows"].as_array().context("rows")? {
        let verdict = row["verdict"].as_str().context("verdict")?.to_owned();
        let clicks = row["clicks"].as_u64().context("clicks")?;
        if clicks > 0 {
            days.entry(name(row).context("start")?)
                .or_default()
                .insert(verdict, clicks);
        }
    }
    // The same without a breakdown, a row for each day.
    let rows = all["rows"].as_array().context("rows")?;
    ensure!(
        rows.len() as i32 == from.until(to)?.get_days(),
        "{} rows",
        rows.len()
    );
    for row in rows {
        let day = days
            .get(&name(row).context("start")?)
            .cloned()
            .unwrap_or_default();
        let valid = day.get("valid").copied().unwrap_or(0);
        ensure!(
            row["clicks"] == valid
                && row["gross_clicks"] == day.values().sum::<u64>()
                && row["final"] == true,
            "{row}: {day:?}"
        );
    }
    Ok(days)
}

async fn sums_are_those_of_the_raw_lines(from: Date, to: Date, clicks_per_day: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let key = folder(dir.path(), from, to, clicks_per_day).await?;
    let (first, last) = around(from, to)?;
    let time = |ms: i64| -> Result<String> { Ok(Timestamp::from_millisecond(ms)?.to_string()) };
    let output = command()?
        .args([
            "reconcile",
            "--yes",
            "--json",
            "--from",
            &time(first)?,
            "--to",
            &time(last)?,
        ])
        .arg("--data")
        .arg(dir.path())
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Nothing is compacted meanwhile: the raw lines are read by who counts them.
    let server = Server::start_in(dir.path(), "127.0.0.1:0", &["--reconcile-every", "off"], &[])?;
    for zone in ZONES {
        let wanted = counted(dir.path(), from, to, zone)?;
        ensure!(
            wanted.len() as i32 == from.until(to)?.get_days(),
            "{zone}: a day has no click"
        );
        let found = answered(&server, &key, from, to, zone)?;
        for (day, wanted) in &wanted {
            ensure!(
                found.get(day) == Some(wanted),
                "{zone} {day}: {wanted:?}, {:?}",
                found.get(day)
            );
        }
        ensure!(found.len() == wanted.len(), "{zone}: days that nobody clicked on");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: 900 hours are sealed one by one"]
async fn days_of_a_spring_sum_up_to_the_raw_lines_in_every_zone() -> Result<()> {
    // New York leaps on 9 March, Lord Howe by half an hour on 6 April.
    let (from, to) = (Date::constant(2025, 3, 6), Date::constant(2025, 4, 9));
    sums_are_those_of_the_raw_lines(from, to, 400).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: 8,800 hours are sealed one by one"]
async fn days_of_a_year_sum_up_to_the_raw_lines_in_every_zone() -> Result<()> {
    sums_are_those_of_the_raw_lines(Date::constant(2025, 1, 1), Date::constant(2026, 1, 1), 200).await
}
