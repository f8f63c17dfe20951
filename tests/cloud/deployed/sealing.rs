//! An hour of the past whose counts were damaged by hand, and the scheduled function that proves, seals and corrects it.
//!
//! The hour is written as live counting and Firehose would have left it, three hours ago: partials, objects of the lake
//! (some of them twice), heartbeats on every shard. What is true is the list of its clicks.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use clickledger_aws::{CatalogOptions, Hours, Patience};
use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::bucket::{Condition, PartialWrite, ShardId};
use clickledger_core::domain::correction::{Cause, Correction, Outcome};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::heartbeat::{Beat, Heartbeat};
use clickledger_core::domain::ids::{
    AdId, AdvertiserId, CampaignId, ClickId, HeartbeatId, ImpressionId, PlacementId,
};
use clickledger_core::domain::manifest::{HourState, Manifest};
use clickledger_core::domain::record::{ClickRecord, RECORD_VERSION};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{Hour, MINUTE_MS, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{
    AdCatalog, BeatenShard, BucketStore, HeartbeatLog, Manifests, SealReports, ShardReader,
};
use clickledger_tests::server::command;
use clickledger_tests::until;
use serde_json::{Value, json};

use crate::lake::keys;
use crate::world::{LANDING, PATIENCE, World};

const ADVERTISER: u64 = 7_000_000;
/// Counted as it was clicked.
const SOUND: u64 = 7_000_001;
/// Its last click was never counted, and a minute of it was lost from the table.
const LOST: u64 = 7_000_002;
/// Its object was read twice, and counted twice.
const TWICE: u64 = 7_000_003;
/// Its clicks came too late to be counted live.
const LATE: u64 = 7_000_004;
const CLICKS: i64 = 12;

/// By the minute's start, Unix milliseconds: valid and invalid clicks.
type Minutes = BTreeMap<i64, (u64, u64)>;

/// One click of an ad, in the `n`th twelfth of the hour.
pub(crate) fn click(hour: Hour, ad: u64, n: i64) -> ClickRecord {
    let clicked_at_ms = hour.start_ms() + n * 5 * MINUTE_MS + 1_234;
    let mut random = [0; 10];
    random[..8].copy_from_slice(&ad.to_be_bytes());
    let invalid = n == 3;
    let click_id = ClickId::new(clicked_at_ms, random);
    ClickRecord {
        v: RECORD_VERSION,
        click_id,
        impression_id: Some(ImpressionId::new(clicked_at_ms - 1_000, random)),
        ad_id: AdId(ad),
        campaign_id: CampaignId(ad + 100),
        advertiser_id: AdvertiserId(ADVERTISER),
        placement_id: Some(PlacementId(ad + 200)),
        clicked_at_ms,
        verdict: if invalid {
            Verdict::Duplicate
        } else {
            Verdict::Valid
        },
        // Of its own ad's first click, which lies in the lake.
        duplicate_of: invalid.then(|| ClickId::new(hour.start_ms() + 1_234, random)),
        claimed: true,
        partition_key: format!("{ad}#0"),
        device: Device::Mobile,
        country: Country::ZZ,
        network: None,
        client_hash: None,
        agent_hash: None,
        dwell_ms: Some(1_000),
        referrer_host: None,
    }
}

fn entities(record: &ClickRecord) -> [Entity; 5] {
    [
        Entity::Ad(record.ad_id),
        Entity::Campaign(record.campaign_id),
        Entity::Advertiser(record.advertiser_id),
        Entity::Placement(record.placement_id.unwrap_or(PlacementId(1))),
        Entity::Total,
    ]
}

/// The past hour, and how it was left.
struct Past<'w> {
    world: &'w World,
    hour: Hour,
    shards: Vec<ShardId>,
    hours: Hours,
}

impl<'w> Past<'w> {
    fn new(world: &'w World) -> Result<Self> {
        let reader = world.stack.aws.shards(Patience::UNHURRIED)?;
        let shards = world.stack.wait(reader.shards())?;
        Ok(Self {
            world,
            hour: Hour(Hour::of(World::now_ms()).0 - 3),
            shards: shards.into_iter().map(|shard| shard.id).collect(),
            hours: world.stack.aws.hours(Patience::UNHURRIED)?,
        })
    }

    fn clicks(&self, ad: u64) -> Vec<ClickRecord> {
        (0..CLICKS).map(|n| click(self.hour, ad, n)).collect()
    }

    /// Counts live, each click so often.
    fn count(&self, records: &[ClickRecord], times: u64, sequence: u64) -> Result<()> {
        let mut deltas: BTreeMap<BucketKey, Counters> = BTreeMap::new();
        for record in records {
            let counter = CounterKey::of(record.verdict, record.device, record.country);
            let minute = Minute::of(record.clicked_at_ms);
            for entity in entities(record) {
                deltas
                    .entry(BucketKey { entity, minute })
                    .or_default()
                    .add(counter, times);
            }
        }
        let number = SequenceNumber::from(sequence);
        let writes = deltas.into_iter().map(|(key, delta)| PartialWrite {
            key,
            shard: self.shards[0].clone(),
            condition: Condition::Below(number),
            last: number,
            delta,
        });
        let buckets = self.world.stack.aws.buckets(Patience::UNHURRIED)?;
        for outcome in self.world.stack.wait(buckets.commit(writes.collect())) {
            outcome?;
        }
        Ok(())
    }

    /// Puts an object into the lake, as Firehose names it.
    fn deliver(&self, arrival: Hour, name: &str, lines: &[Vec<u8>]) -> Result<()> {
        let start = jiff::Timestamp::from_millisecond(arrival.start_ms())?;
        let partition = start.strftime("dt=%Y-%m-%d/hr=%H");
        let put = self.world.stack.aws.s3().put_object();
        let put = put
            .bucket(self.world.stack.output("BucketName")?)
            .key(format!("lake/{partition}/{name}.ndjson"))
            .body(lines.concat().into());
        self.world.stack.wait(put.send())?;
        Ok(())
    }

    /// A heartbeat on every shard at this time, acknowledged; its lines.
    fn heartbeats(&self, at_ms: i64) -> Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        for (place, shard) in (0_u8..).zip(&self.shards) {
            let id = HeartbeatId::new(at_ms, [place; 10]);
            let beat = Beat {
                id,
                shard: shard.clone(),
                sequence_number: SequenceNumber::from(at_ms.unsigned_abs()),
                sent_at_ms: at_ms,
                acknowledged_at_ms: at_ms + 20,
            };
            let known = BeatenShard {
                shard: shard.clone(),
                parents: Vec::new(),
            };
            self.world.stack.wait(self.hours.know(&known))?;
            self.world.stack.wait(self.hours.acknowledged(&beat))?;
            lines.push(Heartbeat::new(id, shard, at_ms).to_line()?);
        }
        Ok(lines)
    }

    fn manifest(&self) -> Result<Option<Manifest>> {
        let next = Hour(self.hour.0 + 1);
        let manifests = self.world.stack.wait(self.hours.hours(self.hour, next))?;
        Ok(manifests.into_iter().next())
    }

    fn corrections(&self) -> Result<Vec<Correction>> {
        Ok(self
            .world
            .stack
            .wait(self.hours.corrections(self.hour, None, 10_000))?)
    }

    /// The ads, as the catalogue has them: metrics are told of those that there are.
    fn create_ads(&self) -> Result<()> {
        let catalog = self.world.stack.aws.catalog(None, CatalogOptions::default())?;
        for ad in [SOUND, LOST, TWICE, LATE] {
            let ad = Ad {
                ad_id: AdId(ad),
                campaign_id: CampaignId(ad + 100),
                advertiser_id: AdvertiserId(ADVERTISER),
                redirect_url: RedirectUrl::parse(LANDING)?,
                title: None,
                image_url: None,
                status: AdStatus::Active,
                fan_out: 1,
                version: 1,
                created_ms: self.hour.start_ms(),
            };
            self.world.stack.wait(catalog.create_ad(&ad))?;
        }
        Ok(())
    }

    /// The hours of its day before it are sealed, and empty: nobody clicked.
    fn empty_before(&self) -> Result<()> {
        for hour in (self.hour.day().first_hour().0..self.hour.0).map(Hour) {
            let empty = Manifest {
                state: HourState::Sealed,
                version: 1,
                sealed_at_ms: hour.end_ms(),
                ..Manifest::open(hour)
            };
            ensure!(self.world.stack.wait(self.hours.flip(&empty))?, "{hour:?}");
        }
        let open = Manifest::open(self.hour);
        ensure!(self.world.stack.wait(self.hours.flip(&open))?, "{open:?}");
        Ok(())
    }

    /// Runs this task as its schedule does, again and again, until there is something to be seen.
    fn until_run<T>(&self, task: &str, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        for _ in 0..5 {
            self.run(task)?;
            if let Ok(seen) = until(what, PATIENCE / 2, &mut look) {
                return Ok(seen);
            }
        }
        self.run(task)?;
        until(what, PATIENCE, look).with_context(|| self.world.warnings())
    }

    /// Calls the function as its schedule does, without waiting for its end.
    fn run(&self, task: &str) -> Result<()> {
        let function = self.world.stack.output("ReconcileFunctionName")?;
        self.world.stack.begin(function, &json!({ "task": task }))
    }

    /// The last thing that was said of the hour.
    fn last_outcome(&self) -> Result<Option<(Outcome, String)>> {
        let next = Hour(self.hour.0 + 1);
        let reports = self.hours.reports(self.hour, next, None, 1_000);
        let reports = self.world.stack.wait(reports)?;
        Ok(reports
            .last()
            .map(|report| (report.outcome, report.detail.clone())))
    }

    /// The hour by the minute, as an advertiser reads it: minutes with clicks alone, and whether all of it is final.
    fn read(&self, ad: u64) -> Result<(Minutes, bool)> {
        let at = |ms: i64| -> Result<String> { Ok(jiff::Timestamp::from_millisecond(ms)?.to_string()) };
        let (from, to) = (at(self.hour.start_ms())?, at(self.hour.end_ms())?);
        let path = format!("/v1/ads/{ad}/metrics?from={from}&to={to}&granularity=minute");
        let read = self.world.call("GET", &path, None, 200)?;
        let (mut minutes, mut all_final) = (BTreeMap::new(), true);
        for row in read["rows"].as_array().context("rows")? {
            let start: jiff::Timestamp = row["start"].as_str().context("start")?.parse()?;
            let count = |name: &str| row[name].as_u64().with_context(|| format!("{row} has no {name}"));
            all_final &= row["final"] == Value::Bool(true);
            let counts = (count("clicks")?, count("invalid_clicks")?);
            if counts != (0, 0) {
                minutes.insert(start.as_millisecond(), counts);
            }
        }
        Ok((minutes, all_final))
    }

    /// What is true of an ad.
    fn truth(&self, ad: u64) -> Minutes {
        let minute = |record: ClickRecord| {
            let counts = if record.verdict.is_valid() { (1, 0) } else { (0, 1) };
            (Minute::of(record.clicked_at_ms).start_ms(), counts)
        };
        self.clicks(ad).into_iter().map(minute).collect()
    }
}

fn lines(records: &[ClickRecord]) -> Result<Vec<Vec<u8>>> {
    records.iter().map(|record| Ok(record.to_line()?)).collect()
}

/// Deletes the partial of an ad's minute from the table.
fn lose_a_minute(past: &Past<'_>, ad: u64, minute: Minute) -> Result<()> {
    let start = jiff::Timestamp::from_millisecond(minute.start_ms())?;
    let table = past.world.stack.output("BucketsTableName")?;
    let attribute = |text: String| aws_sdk_dynamodb::types::AttributeValue::S(text);
    let delete = past.world.stack.aws.dynamodb().delete_item().table_name(table);
    let delete = delete
        .key("pk", attribute(format!("a#{ad}#{}", start.strftime("%Y%m%d"))))
        .key(
            "sk",
            attribute(format!("p#{}#{}", start.strftime("%H%M"), past.shards[0])),
        );
    past.world.stack.wait(delete.send())?;
    Ok(())
}

pub(crate) fn damaged_counts_are_found_and_corrected(world: &World) -> Result<()> {
    // AWS judges these by the query's workgroup and by the iterator's stream, as the policy has it; the emulator knows no resource
    // for them. (Heartbeats are so far apart here that the stream is looked at too.)
    let function = world.stack.output("ReconcileFunctionName")?;
    world
        .stack
        .allow(function, &["athena:GetQueryExecution", "kinesis:GetRecords"])?;
    let past = Past::new(world)?;
    let hour = past.hour;
    past.create_ads()?;
    past.empty_before()?;
    let [sound, lost, twice, late] = [SOUND, LOST, TWICE, LATE].map(|ad| past.clicks(ad));
    past.count(&sound, 1, 10)?;
    past.count(&lost[..lost.len() - 1], 1, 20)?;
    past.count(&twice, 2, 30)?;
    lose_a_minute(&past, LOST, Minute::of(lost[5].clicked_at_ms))?;

    // Objects of the hour: one before it, two in it, one of which came twice. The one behind its end is held back.
    let minute = |n: i64| hour.start_ms() + n * MINUTE_MS;
    past.deliver(
        Hour(hour.0 - 1),
        "before",
        &[past.heartbeats(minute(-3))?, lines(&sound[..1])?].concat(),
    )?;
    let first = [past.heartbeats(minute(30))?, lines(&sound[1..])?, lines(&lost)?];
    past.deliver(hour, "first", &first.concat())?;
    past.deliver(hour, "second", &lines(&twice)?)?;
    past.deliver(hour, "second-again", &lines(&twice)?)?;
    let behind = [past.heartbeats(minute(68))?, lines(&late)?].concat();

    // A heartbeat of now, and the lake has it: the stream and Firehose are alive.
    past.run("heartbeat")?;
    until("a heartbeat is in the lake", PATIENCE, || {
        let mine = [
            "before.ndjson",
            "first.ndjson",
            "second.ndjson",
            "second-again.ndjson",
        ];
        let of_others = |key: &String| !mine.iter().any(|name| key.ends_with(name));
        Ok(keys(world, "lake/")?.iter().any(of_others).then_some(()))
    })?;

    // A lake that lags behind is not sealed, and the report says what is waited for.
    let detail = past.until_run("hourly", "the lagging lake is noticed", || {
        let last = past.last_outcome()?;
        let waiting = last.filter(|(outcome, _)| *outcome == Outcome::Waiting);
        Ok(waiting.map(|(_, detail)| detail))
    })?;
    ensure!(detail.contains("has not come through"), "{detail}");
    let manifest = past.manifest()?;
    ensure!(
        manifest.as_ref().is_none_or(|manifest| manifest.version == 0),
        "{manifest:?} is sealed over a lagging lake"
    );
    let (_, any_final) = past.read(SOUND)?;
    ensure!(!any_final, "an hour that waits is final");

    past.deliver(Hour(hour.0 + 1), "behind", &behind)?;
    let sealed = past.until_run("hourly", "the hour is sealed", || {
        let manifest = past.manifest()?;
        Ok(manifest.filter(|manifest| manifest.state == HourState::Sealed))
    });
    let sealed = sealed.with_context(|| format!("not sealed: {:?}", past.last_outcome()))?;
    ensure!(
        (sealed.lake.clicks, sealed.lake.rows) == (4 * CLICKS as u64, 5 * CLICKS as u64),
        "{sealed:?}"
    );
    for ad in [SOUND, LOST, TWICE, LATE] {
        let (minutes, all_final) = past.read(ad)?;
        ensure!(minutes == past.truth(ad) && all_final, "ad {ad}: {minutes:?}");
    }

    // Every difference is told, with its cause, and none that is not.
    let corrections = past.corrections()?;
    let of = |ad: u64| -> Vec<Cause> {
        let mine = corrections
            .iter()
            .filter(|correction| correction.entity == Entity::Ad(AdId(ad)));
        mine.map(|correction| correction.cause).collect()
    };
    ensure!(of(SOUND).is_empty(), "{corrections:?}");
    ensure!(of(LOST) == [Cause::LostInStream; 2], "{:?}", of(LOST));
    ensure!(
        of(TWICE) == vec![Cause::CountedTwice; CLICKS as usize],
        "{:?}",
        of(TWICE)
    );
    ensure!(of(LATE).len() == CLICKS as usize, "{:?}", of(LATE));
    let outcome = past.last_outcome()?;
    ensure!(
        outcome
            .as_ref()
            .is_some_and(|(outcome, _)| *outcome == Outcome::Sealed),
        "{outcome:?}"
    );

    metrics_tell(world)?;

    // Another run changes nothing: the daily one, which looks at all that came.
    past.run("heartbeat")?;
    past.until_run("daily", "the daily run is done", || {
        let said = world.stack.log("reconcile")?;
        let done = said.iter().any(|line| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            event["message"] == "the daily run is done"
        });
        Ok(done.then_some(()))
    })?;
    ensure!(
        past.corrections()? == corrections,
        "a second run corrected something"
    );
    let again = past.manifest()?.context("the manifest is gone")?;
    ensure!(again.version == sealed.version, "{again:?} after {sealed:?}");
    restated(world, &past)?;
    ensure!(
        past.corrections()? == corrections,
        "a restatement corrected something"
    );
    Ok(())
}

/// The alarms' metrics are in the function's log.
fn metrics_tell(world: &World) -> Result<()> {
    let told = |name: &str| {
        until(name, PATIENCE, || {
            let said = world.stack.log("reconcile")?;
            let values = said.iter().filter_map(|line| {
                let event: Value = serde_json::from_str(line).ok()?;
                event["_aws"].is_object().then(|| event[name].clone())
            });
            let values: Vec<Value> = values.filter(|value| !value.is_null()).collect();
            Ok((!values.is_empty()).then_some(values))
        })
    };
    ensure!(told("reconcile_disputed_hours")?.iter().all(|value| value == 0.0));
    let ages = told("reconcile_seal_age_seconds")?;
    ensure!(ages.iter().all(|age| age.as_f64() > Some(0.0)), "{ages:?}");
    let drifts = told("reconcile_drift_clicks")?;
    ensure!(drifts.iter().any(|drift| holds(drift, 1.0)), "{drifts:?}");
    Ok(())
}

/// Whether what was measured in an invocation, one value or several, holds this value, about.
fn holds(drifts: &Value, wanted: f64) -> bool {
    let is = |value: &Value| value.as_f64().is_some_and(|value| (value - wanted).abs() < 0.5);
    let values = drifts["Values"].as_array().or_else(|| drifts.as_array());
    values.map_or_else(|| is(drifts), |values| values.iter().any(is))
}

/// The command, against the deployed stack: the hour is recounted by the function and is what it was; whoever may see what.
fn restated(world: &World, past: &Past<'_>) -> Result<()> {
    let at = |ms: i64| -> Result<String> { Ok(jiff::Timestamp::from_millisecond(ms)?.to_string()) };
    let (from, to) = (at(past.hour.start_ms())?, at(past.hour.end_ms())?);
    let clickledger = |arguments: &[&str]| -> Result<Value> {
        let output = command()?
            .arg("reconcile")
            .args(arguments)
            .args(["--from", &from, "--to", &to, "--json"])
            .env("CLICKLEDGER_TARGET", world.stack.api.url())
            .env("CLICKLEDGER_KEY", &world.admin)
            .output()?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    for (arguments, outcome) in [(&["--dry-run"][..], "shown"), (&["--yes"], "unchanged")] {
        let said = clickledger(arguments)?;
        let item = &said["items"][0];
        ensure!(
            item["outcome"] == outcome && item["corrections"] == 0 && item["clicks_in_lake"] == 4 * CLICKS,
            "{arguments:?}: {said}"
        );
    }
    let report = clickledger(&["report"])?;
    let outcomes: Vec<&str> = report["items"]
        .as_array()
        .context("items")?
        .iter()
        .filter_map(|item| item["outcome"].as_str())
        .collect();
    for outcome in ["waiting", "sealed", "shown", "unchanged"] {
        ensure!(outcomes.contains(&outcome), "{report}");
    }
    // An advertiser sees the corrections of its ads, its campaigns and itself, none of placements or of all, and no report of an hour.
    let (_, key) = world.advertiser_key(ADVERTISER)?;
    let path = format!("/v1/reconciliations/{from}/corrections?limit=1000");
    let seen = world.stack.api.call(&key, "GET", &path, None, 200)?;
    let seen = seen["items"].as_array().context("items")?;
    let own = |item: &Value| matches!(item["entity"].as_str(), Some("ad" | "campaign" | "advertiser"));
    ensure!(!seen.is_empty() && seen.iter().all(own), "{seen:?}");
    world
        .stack
        .api
        .call(&key, "GET", "/v1/reconciliations", None, 403)?;
    Ok(())
}
