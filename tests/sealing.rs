//! Sealing end to end: a data folder whose counts were damaged, a server that catches up what it missed, the command that shows
//! and restates; and `kill -9` in the middle of it.
//!
//! The folder is written by the same services as a server's own, on a clock that stood hours ago.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test suite: a panic is its way to say no, and a seed must be told

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::bucket::{Committed, Condition, PartialWrite};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{
    BucketStore, ClickStream, Clock, Outgoing, RawLake, ShardReader, StreamRecord,
};
use clickledger_core::service::aggregate::{Aggregate, AggregateConfig, AggregatePorts};
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::LocalTime;
use clickledger_core::service::pump::{Consumer, LakeDelivery, Pump};
use clickledger_embedded::{Embedded, OpenOptions, SystemClock, SystemEntropy};
use clickledger_testkit::fixtures::ClickMaker;
use clickledger_tests::server::{Server, command};
use clickledger_tests::{http, until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
/// How often the server of a test looks for something to seal.
const OFTEN: [(&str, &str); 2] = [
    ("CLICKLEDGER_RECONCILE_EVERY", "200ms"),
    ("CLICKLEDGER_COMPACT_AFTER", "1s"),
];

struct SetClock(AtomicI64);

#[async_trait]
impl Clock for SetClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// What was clicked.
struct Past {
    key: String,
    from: Hour,
    to: Hour,
    clicks: Vec<ClickRecord>,
}

impl Past {
    fn range(&self) -> [String; 4] {
        let time = |hour: Hour| LocalTime::utc(hour.start_ms()).to_string();
        [
            "--from".to_owned(),
            time(self.from),
            "--to".to_owned(),
            time(self.to),
        ]
    }

    fn hour_of(click: &ClickRecord) -> Hour {
        Hour::of(click.clicked_at_ms)
    }

    /// Gross and valid clicks by the minute. Every duplicate is of a click that never came: it becomes valid.
    fn truth(&self) -> BTreeMap<i64, (u64, u64)> {
        let mut minutes = BTreeMap::new();
        for click in &self.clicks {
            let (gross, valid) = minutes.entry(click.clicked_at_ms / 60_000).or_default();
            *gross += 1;
            *valid += u64::from(matches!(click.verdict, Verdict::Valid | Verdict::Duplicate));
        }
        minutes
    }
}

/// A folder with so many hours of clicks, counted and delivered, of which the last ended an hour ago or more.
async fn past(dir: &Path, seed: u64, hours: i64, clicks_per_hour: u64) -> Result<Past> {
    let to = Hour(Hour::of(SystemClock.now_ms()).0 - 1);
    let from = Hour(to.0 - hours);
    let clock = Arc::new(SetClock(AtomicI64::new(from.start_ms())));
    let options = OpenOptions {
        clock: clock.clone(),
        ..OpenOptions::default()
    };
    let store = Embedded::open(dir, options)?;
    let ports = AggregatePorts {
        claims: Arc::new(store.claims()),
        buckets: Arc::new(store.buckets()),
        lanes: Arc::new(store.lanes()),
        shards: Arc::new(store.stream()),
        quarantine: Arc::new(store.quarantine()),
        seals: Arc::new(store.seals()),
        catalog: Arc::new(store.catalog()),
        clock: clock.clone(),
    };
    let (stream, lake) = (Arc::new(store.stream()), Arc::new(store.lake()));
    let consumers: [Arc<dyn Consumer>; 2] = [
        Arc::new(Aggregate::new(
            ports,
            AggregateConfig::default(),
            Mutation::default(),
        )),
        Arc::new(LakeDelivery::new(lake.clone())),
    ];
    let pumps = consumers.map(|consumer| Pump::new(stream.clone(), consumer, 10_000));

    let rate = clicks_per_hour as f64 / 3600.0;
    let mut maker = ClickMaker::new(seed, 200, from.start_ms(), rate);
    let mut clicks: Vec<ClickRecord> = Vec::new();
    loop {
        // A minute at a time, so that nothing is late.
        let ends_ms = clock.now_ms() + 60_000;
        let mut lines = Vec::new();
        let last = loop {
            let click = maker.record();
            let last = click.clicked_at_ms;
            if last >= to.start_ms() {
                break last;
            }
            lines.push(Outgoing {
                partition_key: click.partition_key.clone(),
                data: click.to_line()?,
            });
            clicks.push(click);
            if last >= ends_ms {
                break last;
            }
        };
        clock.0.store(last.max(ends_ms), Ordering::Relaxed);
        for outcome in stream.publish(lines).await {
            outcome?;
        }
        for shard in stream.shards().await? {
            for pump in &pumps {
                while pump.shard(&shard).await?.more {}
            }
        }
        if last >= to.start_ms() {
            break;
        }
    }
    let keys = KeysService::new(Arc::new(store.keys()), clock, Arc::new(SystemEntropy));
    let (_, key) = keys.create(Scope::Admin).await?;
    store.close().await;
    Ok(Past {
        key,
        from,
        to,
        clicks,
    })
}

/// Has the first `twice` valid clicks of an hour lie in the lake twice, and counted twice.
async fn count_twice(dir: &Path, past: &Past, hour: Hour, twice: usize) -> Result<()> {
    let options = OpenOptions {
        shards: OpenOptions::SAME_SHARDS,
        ..OpenOptions::default()
    };
    let store = Embedded::open(dir, options)?;
    let of_hour = past.clicks.iter().filter(|click| Past::hour_of(click) == hour);
    let clicks: Vec<&ClickRecord> = of_hour
        .filter(|click| click.verdict.is_valid())
        .take(twice)
        .collect();
    ensure!(clicks.len() == twice);
    let mut again: BTreeMap<(Entity, i64), Counters> = BTreeMap::new();
    let mut lines = Vec::new();
    for (number, click) in (1_u64..).zip(&clicks) {
        let key = CounterKey::of(click.verdict, click.device, click.country);
        let of = [
            Some(Entity::Ad(click.ad_id)),
            Some(Entity::Campaign(click.campaign_id)),
            Some(Entity::Advertiser(click.advertiser_id)),
            click.placement_id.map(Entity::Placement),
            Some(Entity::Total),
        ];
        for entity in of.into_iter().flatten() {
            again
                .entry((entity, click.clicked_at_ms / 60_000))
                .or_default()
                .add(key, 1);
        }
        lines.push(StreamRecord {
            sequence_number: SequenceNumber::from(number),
            arrived_at_ms: click.clicked_at_ms + 100,
            data: click.to_line()?,
        });
    }
    store
        .lake()
        .append(&"shardId-000000000000".into(), &lines)
        .await?;
    let last = SequenceNumber::from(1);
    let write = |((entity, minute), delta)| PartialWrite {
        key: BucketKey {
            entity,
            minute: Minute(minute),
        },
        // No shard of the stream: its watermarks hold up nobody.
        shard: "shardId-000000000900".into(),
        condition: Condition::Below(last),
        last,
        delta,
    };
    for outcome in store
        .buckets()
        .commit(again.into_iter().map(write).collect())
        .await
    {
        ensure!(outcome? == Committed::Applied);
    }
    store.close().await;
    Ok(())
}

/// Deletes every partial of one shard in an hour, by hand; says how many rows.
fn lose(dir: &Path, hour: Hour) -> Result<usize> {
    let database = rusqlite::Connection::open(dir.join("clickledger.db"))?;
    let shard: i64 = database.query_row(
        "SELECT min(shard) FROM buckets WHERE hour = ?1",
        [hour.0],
        |row| row.get(0),
    )?;
    Ok(database.execute(
        "DELETE FROM buckets WHERE hour = ?1 AND shard = ?2",
        (hour.0, shard),
    )?)
}

fn clickledger(server: &Server, key: &str, arguments: &[&str]) -> Result<Output> {
    let mut command = command()?;
    command
        .args(arguments)
        .env("CLICKLEDGER_TARGET", server.url())
        .env("CLICKLEDGER_KEY", key)
        .stdin(Stdio::null());
    Ok(command.output()?)
}

fn answered(server: &Server, past: &Past, arguments: &[&str]) -> Result<Value> {
    let range = past.range();
    let arguments: Vec<&str> = arguments
        .iter()
        .copied()
        .chain(range.iter().map(String::as_str))
        .collect();
    let output = clickledger(server, &past.key, &arguments)?;
    ensure!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn counts(server: &Server, past: &Past, granularity: &str, group_by: &str) -> Result<Value> {
    let grouped = ["--group-by", group_by];
    let asked = ["metrics", "total", "--json", "--granularity", granularity];
    let grouped: &[&str] = if group_by.is_empty() { &[] } else { &grouped };
    answered(server, past, &[&asked[..], grouped].concat())
}

/// Waits until all is sealed and the daily run has promoted every orphan's duplicate.
fn sealed(server: &Server, past: &Past) -> Result<Value> {
    let (mut said, valid) = (
        Value::Null,
        past.truth().values().map(|(_, valid)| valid).sum::<u64>(),
    );
    let done = until("everything is sealed", PATIENCE, || {
        let page = counts(server, past, "minute", "")?;
        said = json!([page["totals"], page["meta"]]);
        Ok((page["meta"]["state"] == "final" && page["totals"]["clicks"] == valid).then_some(page))
    });
    done.with_context(|| format!("{said} {}", server.lines().join("\n")))
}

fn corrections(server: &Server, past: &Past, hour: Hour) -> Result<Vec<Value>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    let hour = LocalTime::utc(hour.start_ms());
    loop {
        let path = format!("/v1/reconciliations/{hour}/corrections?limit=1000{cursor}");
        let authorization = format!("Bearer {}", past.key);
        let answer = http::get(server.url(), &path, &[("Authorization", authorization.as_str())])?;
        ensure!(answer.status == 200, "{path}: {}", answer.body);
        let mut page: Value = serde_json::from_str(&answer.body)?;
        let Value::Array(items) = page["items"].take() else {
            bail!("no items")
        };
        all.extend(items);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

/// How many corrections an hour has of which cause.
fn causes(server: &Server, past: &Past, hour: Hour) -> Result<BTreeMap<String, usize>> {
    let mut causes = BTreeMap::new();
    for correction in corrections(server, past, hour)? {
        let cause = correction["cause"].as_str().unwrap_or_default();
        *causes.entry(cause.to_owned()).or_default() += 1;
    }
    Ok(causes)
}

/// Everything that sealing decided, without what differs from run to run.
fn state(server: &Server, past: &Past) -> Result<Value> {
    let mut state = vec![
        counts(server, past, "minute", "")?["rows"].take(),
        counts(server, past, "hour", "device,country")?["rows"].take(),
        counts(server, past, "day", "verdict")?["rows"].take(),
    ];
    for hour in (past.from.0..past.to.0).map(Hour) {
        // What all versions together changed: from the first `before` to the last `after`.
        let mut changed: BTreeMap<String, (Value, Value)> = BTreeMap::new();
        for mut correction in corrections(server, past, hour)? {
            let name = format!(
                "{} {} {}",
                correction["minute"], correction["entity"], correction["id"]
            );
            let (before, after) = (correction["before"].take(), correction["after"].take());
            changed.entry(name).or_insert((before, Value::Null)).1 = after;
        }
        changed.retain(|_, (before, after)| before != after);
        state.push(json!(changed));
    }
    Ok(Value::Array(state))
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_counts_are_corrected_an_orphans_duplicate_promoted_and_a_second_run_changes_nothing()
-> Result<()> {
    let dir = tempfile::tempdir()?;
    let past = past(dir.path(), 4, 3, 2000).await?;
    let (lost_hour, twice_hour) = (past.from, Hour(past.from.0 + 1));
    count_twice(dir.path(), &past, twice_hour, 7).await?;
    ensure!(lose(dir.path(), lost_hour)? > 0);

    let server = Server::start_in(dir.path(), "127.0.0.1:0", &[], &OFTEN)?;
    let page = sealed(&server, &past)?;
    let rows = page["rows"].as_array().context("rows")?;
    let truth = past.truth();
    ensure!(rows.len() == 180);
    for (minute, row) in (past.from.first_minute().0..).zip(rows) {
        let (gross, valid) = truth.get(&minute).copied().unwrap_or_default();
        ensure!(
            row["gross_clicks"] == gross && row["clicks"] == valid && row["final"] == true,
            "{row}"
        );
    }

    // The report says what happened.
    let report = answered(&server, &past, &["reconcile", "report", "--json"])?;
    let of = |hour: Hour, run: &str| -> Vec<&Value> {
        let at = LocalTime::utc(hour.start_ms()).to_string();
        let items = report["items"].as_array().unwrap().iter();
        items
            .filter(|item| item["hour"] == at && item["run"] == run)
            .collect()
    };
    let clicked = |hour: Hour| {
        past.clicks
            .iter()
            .filter(|click| Past::hour_of(click) == hour)
            .count()
    };
    for hour in (past.from.0..past.to.0).map(Hour) {
        let first = of(hour, "hourly")
            .into_iter()
            .find(|item| item["outcome"] == "sealed")
            .context("sealed")?;
        ensure!(first["clicks_in_lake"] == clicked(hour), "{first}");
        let difference = first["difference"].as_i64().context("a difference")?;
        if hour == lost_hour {
            ensure!(
                difference > 0 && first["corrections"].as_u64() > Some(100),
                "{first}"
            );
        } else if hour == twice_hour {
            ensure!(
                difference == -7 && first["rows_in_lake"] == clicked(hour) + 7,
                "{first}"
            );
        } else {
            ensure!(difference == 0 && first["corrections"] == 0, "{first}");
        }
        let promoted = of(hour, "daily")
            .into_iter()
            .find(|item| item["outcome"] == "sealed")
            .context("promoted")?;
        ensure!(
            promoted["difference"] == 0 && promoted["corrections"].as_u64() > Some(10),
            "{promoted}"
        );
    }
    let table = clickledger(&server, &past.key, &["reconcile", "report", "--from", "-1d"])?;
    let table = String::from_utf8(table.stdout)?;
    ensure!(
        table.starts_with("hour ") && table.contains(" sealed ") && table.contains(" daily"),
        "{table}"
    );

    for (hour, expected) in [
        (lost_hour, vec!["lost_in_stream", "promoted"]),
        (twice_hour, vec!["counted_twice", "promoted"]),
        (Hour(past.to.0 - 1), vec!["promoted"]),
    ] {
        let causes = causes(&server, &past, hour)?;
        ensure!(causes.keys().eq(expected), "{causes:?}");
    }

    // What was proved is compacted; from here on the hours are recounted from Parquet.
    let lake = dir.path().join("lake");
    until("the lake is compacted", PATIENCE, || {
        let forms = forms(&lake, past.to)?;
        Ok((forms == BTreeSet::from(["parquet".to_owned()])).then_some(()))
    })?;

    // Whoever can't be asked must have said yes before; nothing is changed by what was refused, nor by doing it all again.
    let before = (state(&server, &past)?, causes(&server, &past, lost_hour)?);
    let range = past.range();
    let range: Vec<&str> = range.iter().map(String::as_str).collect();
    let refused = clickledger(&server, &past.key, &[&["reconcile"][..], &range].concat())?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(
        String::from_utf8_lossy(&refused.stderr).contains("nothing was changed"),
        "{refused:?}"
    );
    for (arguments, outcome) in [
        (&["reconcile", "--json", "--dry-run"][..], "shown"),
        (&["reconcile", "--json", "--yes"], "unchanged"),
    ] {
        let again = answered(&server, &past, arguments)?;
        let items = again["items"].as_array().context("items")?;
        let same = |item: &Value| item["outcome"] == outcome && item["corrections"] == 0;
        ensure!(items.len() == 3 && items.iter().all(same), "{again}");
        ensure!(
            (state(&server, &past)?, causes(&server, &past, lost_hour)?) == before,
            "{arguments:?} changed something"
        );
    }

    // The same on the folder, but not while the server has it.
    let data = dir.path().to_str().context("a path")?;
    let on_folder = [
        &["reconcile", "--json", "--yes", "--data", data],
        range.as_slice(),
    ]
    .concat();
    let in_use = command()?.args(&on_folder).output()?;
    ensure!(
        String::from_utf8_lossy(&in_use.stderr).contains("in use"),
        "{in_use:?}"
    );
    ensure!(server.stop()?.success());
    let output = command()?.args(&on_folder).output()?;
    let again: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(
        again["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["outcome"] == "unchanged"),
        "{again}"
    );
    let server = Server::start_in(dir.path(), "127.0.0.1:0", &[], &OFTEN)?;
    ensure!(
        (state(&server, &past)?, causes(&server, &past, lost_hour)?) == before,
        "the folder's restatement changed something"
    );
    Ok(())
}

#[allow(clippy::disallowed_methods)] // a seed that differs from run to run, and is printed
fn seed() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// How the files of the lake's partitions before this hour are named at their end.
fn forms(lake: &Path, before: Hour) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for day in std::fs::read_dir(lake)? {
        for hour in std::fs::read_dir(day?.path())? {
            let hour = hour?.path();
            let name = hour.to_str().context("a name")?;
            let (day, of_day) = name.rsplit_once("/hr=").context("hr=")?;
            let (_, day) = day.rsplit_once("dt=").context("dt=")?;
            let start: jiff::Timestamp = format!("{day}T{of_day}:00:00Z").parse()?;
            if Hour::of(start.as_millisecond()) >= before {
                continue;
            }
            for file in std::fs::read_dir(&hour)? {
                let file = file?.path();
                let form = file.extension().and_then(|form| form.to_str());
                found.insert(form.context("a form")?.to_owned());
            }
        }
    }
    Ok(found)
}

/// Kills the server so many times at random moments between its start and the end of its catching up, each time in a fresh
/// copy of the same folder, and lets a second one finish.
async fn kill_while_sealing(kills: u32, clicks_per_hour: u64) -> Result<()> {
    let seed = seed();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    let past = past(folder.path(), seed, 3, clicks_per_hour).await?;
    count_twice(folder.path(), &past, Hour(past.from.0 + 1), 50).await?;
    ensure!(lose(folder.path(), past.from)? > 0);

    // As it goes without a kill, and how long that takes from the start of the process.
    let fresh = || -> Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        copy(folder.path(), dir.path())?;
        Ok(dir)
    };
    let dir = fresh()?;
    let begin = Instant::now();
    let server = Server::start_in(dir.path(), "127.0.0.1:0", &[], &OFTEN)?;
    let started = begin.elapsed();
    sealed(&server, &past)?;
    let took = begin.elapsed() - started;
    let expected = state(&server, &past)?;
    drop(server);

    let (mut begun, mut unfinished) = (0, 0);
    for kill in 0..kills {
        let dir = fresh()?;
        let mut server = Server::start_in(dir.path(), "127.0.0.1:0", &[], &OFTEN)?;
        std::thread::sleep(took.mul_f64(random.random::<f64>()));
        server.kill()?;
        let database = rusqlite::Connection::open(dir.path().join("clickledger.db"))?;
        let reports: i64 = database.query_row("SELECT count(*) FROM seal_reports", [], |row| row.get(0))?;
        drop(database);
        begun += u32::from(reports > 0);
        let server = Server::start_in(dir.path(), "127.0.0.1:0", &[], &OFTEN)?;
        unfinished += u32::from(counts(&server, &past, "day", "")?["meta"]["state"] != "final");
        sealed(&server, &past).with_context(|| format!("kill {kill}"))?;
        let found = state(&server, &past)?;
        ensure!(
            found == expected,
            "kill {kill} of seed {seed} left another state: {found}"
        );
    }
    println!(
        "{kills} kills within {took:?}: {begun} after the first hour was sealed, {unfinished} before the last one was"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_kills_while_sealing_leave_the_same_state() -> Result<()> {
    kill_while_sealing(2, 10_000).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: fifty kills at random moments, some minutes"]
async fn fifty_kills_while_sealing_leave_the_same_state() -> Result<()> {
    kill_while_sealing(50, 20_000).await
}
