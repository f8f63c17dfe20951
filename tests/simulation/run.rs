//! Plays one schedule, and holds what came out against what is true.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::country::Country;
use clickledger_core::domain::heartbeat::Heartbeat;
use clickledger_core::domain::ids::{ClickId, ImpressionId};
use clickledger_core::domain::manifest::HourState;
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::time::{Day, HOUR_MS, Hour};
use clickledger_core::ports::{AdCatalog, ClaimStore, ClickStream, Clock, Outgoing, ShardReader};
use clickledger_core::service::click::{ClickOutcome, ClickRequest, Recorded};
use clickledger_core::service::pump::{AGGREGATE, Pump};
use clickledger_core::service::reconcile::Restatement;
use clickledger_testkit::virtual_time::crashing;
use futures_util::FutureExt;

use crate::schedule::{
    CALM_MS, CLICKS_MS, CopyOf, HOURS, JITTER_MS, LATE_AFTER_MS, SEALING_CALM_MS, SLACK_MS, TOKEN_MS, UNIT_MS,
};
use crate::truth::{Kind, Request, difference, durable, expected, page_of};
use crate::world::{World, lock};
use crate::{lake, sealed, sealing};

const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
];
/// By when a schedule must have come to its end.
const END_MS: i64 = 600 * UNIT_MS;

/// What is wrong after this seed's schedule; nothing, with the rules as they are.
/// `told` prints its story if something is.
pub(crate) fn run(seed: u64, mutation: Mutation, told: bool) -> Vec<String> {
    let world = World::new(seed, mutation);
    play(&world);
    sealing::play(&world);
    world.time.run_until(world.start_ms + CALM_MS);
    world.calm();
    world.time.run_until(world.start_ms + SEALING_CALM_MS);
    world.sealing.calm();
    let mut wrong = settle_down(&world);
    if wrong.is_empty() {
        wrong = seal_all(&world);
    }
    if wrong.is_empty() {
        wrong = check(&world);
    }
    if told && !(wrong.is_empty() && world.sealing.watch.wrong().is_empty()) {
        tell(&world);
    }
    let mut early = world.sealing.watch.wrong();
    early.extend(wrong);
    world.time.stop();
    early
}

/// What happened to clicks and hours.
fn tell(world: &World) {
    let at = |ms: i64| (ms - world.start_ms) as f64 / UNIT_MS as f64;
    eprintln!("{:#?}", world.schedule.sealing);
    let (clicks, _) = durable(&world.everything());
    for (id, click) in &clicks {
        let record = &click.record;
        let copies: Vec<_> = click
            .copies
            .iter()
            .map(|copy| format!("{} {:.2}", copy.shard, at(copy.arrived_at_ms)))
            .collect();
        eprintln!(
            "{id} at {:.2} minute {} ad {} of {:?} {} {:?} claimed {} {copies:?}",
            at(record.clicked_at_ms),
            record.clicked_at_ms / 60_000,
            record.ad_id,
            record.impression_id.map(|id| id.to_string()),
            record.verdict,
            record.duplicate_of.map(|id| id.to_string()),
            record.claimed
        );
    }
    for ruling in world.seals.all_rulings() {
        eprintln!("ruled: {} {:?} {}", ruling.click_id, ruling.kind, ruling.other);
    }
    for report in world.seals.all_reports() {
        eprintln!("{:.2} {report:?}", at(report.at_ms));
    }
    for manifest in world.seals.all_manifests() {
        eprintln!("{manifest:?}");
    }
    let (clicks, beats) = world.sealing.lake.places();
    for (click, partitions) in clicks {
        eprintln!("in the lake: {click} {partitions:?}");
    }
    for (shard, _) in world.everything() {
        for beat in world.sealing.beats.all(&shard) {
            let partitions = beats.get(&beat.id);
            eprintln!("heartbeat: {shard} {:.2} {partitions:?}", at(beat.sent_at_ms));
        }
    }
}

/// Waits until the spill is empty, every shard is worked, and all of it lies in the lake.
fn settle_down(world: &Arc<World>) -> Vec<String> {
    while world.elapsed_ms() < END_MS {
        world.time.run_until(world.time.now_ms() + 10 * UNIT_MS);
        if world.spill.is_empty() && is_worked(world) && undelivered(world).is_empty() {
            return Vec::new();
        }
    }
    vec![format!(
        "no end: {} spilled, {}, {} on the way to the lake",
        world.spill.len(),
        is_worked(world),
        undelivered(world).len()
    )]
}

fn is_worked(world: &World) -> bool {
    let everything = world.everything();
    everything.iter().all(|(shard, records)| {
        let position = world.stream.position(AGGREGATE, shard).now_or_never();
        let done = position.and_then(Result::ok).and_then(|position| position.done);
        // Heartbeats go on for ever.
        let last = records
            .iter()
            .rfind(|record| Heartbeat::parse(&record.data).is_none());
        done >= last.map(|record| record.sequence_number)
    })
}

/// Clicks that are durable and not in the lake.
fn undelivered(world: &World) -> Vec<ClickId> {
    let (clicks, _) = durable(&world.everything());
    let delivered = world.sealing.lake.all_clicks();
    clicks
        .into_keys()
        .filter(|click| !delivered.contains_key(click))
        .collect()
}

/// Lets the runs come to their end, and accepts what somebody has to.
fn seal_all(world: &Arc<World>) -> Vec<String> {
    // Long: with many shards and a slow lake some heartbeat of the last hour is nearly always on its way still.
    let (sealing, until_ms) = (&world.sealing, world.time.now_ms() + 400 * UNIT_MS);
    // What has arrived by now is what the last daily run looks at, and the last hour is ripe by then.
    let quiet_ms = (world.start_ms + (HOURS + 2) * HOUR_MS).max(world.time.now_ms() + 2 * SLACK_MS);
    world.time.run_until(quiet_ms);
    let (mut last, arrived_ms) = ("never run".to_owned(), world.time.now_ms());
    while world.time.now_ms() < until_ms.max(quiet_ms + 400 * UNIT_MS) {
        let hourly = world.time.block_on(sealing.reconcile.hourly());
        let daily = world.time.block_on(sealing.reconcile.daily());
        match (hourly, daily) {
            // A run that was under way has an older cut: this one is the next.
            (Ok(_), Ok(run)) if run.done && run.cut_ms >= arrived_ms => {
                let disputed = world.seals.all_manifests();
                let disputed = disputed.iter().filter(|it| it.state == HourState::Disputed);
                let disputed: Vec<Hour> = disputed.map(|manifest| manifest.hour).collect();
                if disputed.is_empty() {
                    return Vec::new();
                }
                let damages = sealing.watch.damages();
                if let Some(hour) = disputed.iter().find(|hour| !damages.contains(hour)) {
                    return vec![format!(
                        "hour {} is disputed, and nothing is wrong with it",
                        hour.0
                    )];
                }
                for hour in disputed {
                    let accepted = Restatement {
                        from: hour,
                        to: Hour(hour.0 + 1),
                        dry_run: false,
                        accept_lowering: true,
                        asked_at_ms: None,
                    };
                    let ran = world.time.block_on(sealing.reconcile.restate(&accepted));
                    last = format!("accepted: {ran:?}");
                }
            }
            other => last = format!("{other:?}"),
        }
        world.time.run_until(world.time.now_ms() + UNIT_MS);
    }
    vec![format!("sealing comes to no end: {last}")]
}

fn check(world: &Arc<World>) -> Vec<String> {
    let everything = world.everything();
    let (clicks, garbage) = durable(&everything);
    let truth = expected(
        &lock(&world.requests),
        &clicks,
        &world.claims.owners(),
        LATE_AFTER_MS,
    );
    let mut wrong = truth.wrong;
    let partials: BTreeMap<_, _> = world
        .buckets
        .sums()
        .into_iter()
        .filter(|(_, counters)| !counters.is_empty())
        .collect();
    let mut live = partials.clone();
    let damaged = world.sealing.watch.damages();
    live.retain(|key, _| !damaged.contains(&key.minute.hour()));
    let mut must = truth.live;
    must.retain(|key, _| !damaged.contains(&key.minute.hour()));
    wrong.extend(difference(&live, &must));

    let marked: Vec<Hour> = world
        .seals
        .all_manifests()
        .iter()
        .filter(|manifest| manifest.marks > 0)
        .map(|manifest| manifest.hour)
        .collect();
    if !marked.iter().eq(&truth.dirty) {
        wrong.push(format!("dirty hours {marked:?}, must be {:?}", truth.dirty));
    }
    let quarantined = world.quarantine.items();
    for (shard, number) in garbage {
        if !quarantined
            .iter()
            .any(|item| item.shard == shard && item.sequence_number == number)
        {
            wrong.push(format!("what came as {number} on {shard} is nowhere"));
        }
    }
    let first = Hour::of(world.start_ms);
    let hours = first..Hour(first.0 + HOURS + 1);
    wrong.extend(sealed::wrong(&world.seals, &clicks, &partials, hours, &damaged));
    if wrong.is_empty() {
        wrong = again(world);
    }
    if wrong.is_empty() {
        wrong = replay(world);
    }
    wrong
}

/// What runs leave behind: versions, and what was corrected. Of the hours up to this one.
fn left(world: &World, to: Hour) -> impl PartialEq + Debug + use<> {
    let manifests = world.seals.all_manifests().into_iter();
    let manifests = manifests.filter(|it| it.hour < to);
    let versions: Vec<_> = manifests
        .map(|it| (it.hour, it.version, it.adjusted, it.lake.clicks, it.lake.valid))
        .collect();
    let mut corrections = world.seals.all_corrections();
    corrections.retain(|(hour, _)| *hour < to);
    let days: Vec<_> = world
        .seals
        .all_days()
        .into_iter()
        .filter(|it| Day(it.day.0 + 1).first_hour() <= to)
        .collect();
    (versions, corrections, days)
}

/// Second runs change nothing, not even when every claim has expired and all is recounted.
fn again(world: &Arc<World>) -> Vec<String> {
    let reconcile = &world.sealing.reconcile;
    let all = sealing::all_hours(world);
    let before = left(world, all.to);
    let mut wrong = Vec::new();
    let purged = world.time.block_on(world.claims.purge(i64::MAX, usize::MAX));
    for _ in 0..2 {
        for ran in [
            world.time.block_on(reconcile.hourly()).map(drop),
            world.time.block_on(reconcile.restate(&all)).map(drop),
            world.time.block_on(reconcile.daily()).map(drop),
        ] {
            wrong.extend(ran.err().map(|error| format!("a second run failed: {error}")));
        }
    }
    let after = left(world, all.to);
    if before != after {
        wrong.push(format!(
            "second runs changed something ({purged:?} claims were gone): {before:?} became {after:?}"
        ));
    }
    wrong
}

/// The whole stream, or its end, once more, by processes that know nothing and without any lane log.
fn replay(world: &Arc<World>) -> Vec<String> {
    let before = world.buckets.all();
    world.lanes.clear();
    world.restart_all();
    let since = if world.rng.chance(0.5) {
        0
    } else {
        world.rng.between(0, 40 * UNIT_MS)
    };
    world.rewind(world.start_ms + since);
    while !is_worked(world) && world.elapsed_ms() < 2 * END_MS {
        world.time.run_until(world.time.now_ms() + 10 * UNIT_MS);
    }
    if world.buckets.all() == before {
        Vec::new()
    } else {
        vec!["a replay changed the partials".to_owned()]
    }
}

/// Sets everything going.
fn play(world: &Arc<World>) {
    let schedule = &world.schedule;
    for showing in schedule.impressions.clone() {
        let first = showing.prefetches.iter().chain(&showing.clicks).min().copied();
        let Some(first) = first else { continue };
        let its = Arc::clone(world);
        spawn_at(world, first, async move {
            let (impression_id, token) = its.show(showing.ad);
            let clicks = showing.clicks.iter().map(|at| (*at, Kind::Real));
            let prefetches = showing.prefetches.iter().map(|at| (*at, Kind::Prefetch));
            for (at, kind) in clicks.chain(prefetches) {
                let click = Click {
                    ad: showing.ad,
                    impression_id: Some(impression_id),
                    token: token.clone(),
                    kind,
                };
                spawn_at(&its, at, request(Arc::clone(&its), click));
            }
        });
    }
    for (at, ad) in schedule.forged.clone() {
        let click = Click {
            ad,
            impression_id: None,
            token: "A".repeat(72),
            kind: Kind::Forged,
        };
        spawn_at(world, at, request(Arc::clone(world), click));
    }
    for shard in world.stream.all_shards() {
        start_pumps(world, shard);
    }
    for at in schedule.reshards.clone() {
        let its = Arc::clone(world);
        spawn_at(world, at, async move { reshard(&its) });
    }
    for (at, ad) in schedule.doublings.clone() {
        let its = Arc::clone(world);
        spawn_at(world, at, async move { double(&its, ad).await });
    }
    for (at, of) in schedule.copies.clone() {
        let its = Arc::clone(world);
        spawn_at(world, at, async move { copy(&its, of).await });
    }
    for at in schedule.garbage.clone() {
        let its = Arc::clone(world);
        spawn_at(world, at, async move {
            let garbage = Outgoing {
                partition_key: "x#garbage".to_owned(),
                data: b"{\"v\":1}\n".to_vec(),
            };
            its.stream.publish(vec![garbage]).await;
        });
    }
    if let Some((at, to)) = schedule.replay {
        let its = Arc::clone(world);
        spawn_at(world, at, async move {
            // What has expired by its own time is not there for the replay either.
            expire(&its).await;
            its.rewind(its.start_ms + to);
        });
    }
    let its = Arc::clone(world);
    world.time.spawn(async move {
        loop {
            let waits = [UNIT_MS, 2 * UNIT_MS, 20 * UNIT_MS, 38 * UNIT_MS];
            let most = its.rng.pick(&waits).copied().unwrap_or(UNIT_MS);
            pause(&its, most.min(CALM_MS)).await;
            let limit = its.rng.between(1, 10) as usize;
            // A crash gives the receipts back when they run out.
            let _ = crashing(its.settle.round(limit), crash(&its)).await;
        }
    });
    let its = Arc::clone(world);
    world.time.spawn(async move {
        loop {
            pause(&its, 6 * UNIT_MS).await;
            expire(&its).await;
        }
    });
}

async fn expire(world: &World) {
    if world.schedule.sealing.firehose {
        sealing::proved_by_heartbeats(world).await;
    }
    let _ = world.maintenance.round().await;
}

pub(crate) fn spawn_at(world: &Arc<World>, elapsed_ms: i64, task: impl Future<Output = ()> + Send + 'static) {
    world.time.spawn_at(world.start_ms + elapsed_ms, task);
}

pub(crate) async fn pause(world: &World, most_ms: i64) {
    let ms = world.rng.between(0, most_ms);
    world.time.sleep(ms.cast_unsigned()).await;
}

/// Whether a process ends at this await.
fn crash(world: &Arc<World>) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let world = Arc::clone(world);
    Arc::new(move || !world.is_calm() && world.rng.chance(world.schedule.crash))
}

#[derive(Clone)]
struct Click {
    ad: usize,
    impression_id: Option<ImpressionId>,
    token: String,
    kind: Kind,
}

/// A user clicks; who sees no redirect may click again.
async fn request(world: Arc<World>, click: Click) {
    loop {
        let n = {
            let mut requests = lock(&world.requests);
            requests.push(Request {
                kind: click.kind,
                impression_id: click.impression_id,
                at_ms: world.time.now_ms() + world.schedule.skew_ms,
                acknowledged: None,
            });
            requests.len() - 1
        };
        let (page, countries) = (page_of(n), ["DE", "US", "ZZ"]);
        let asked = ClickRequest {
            ad_id: world.ads[click.ad],
            token: Some(&click.token),
            user_agent: world.rng.pick(&AGENTS).copied(),
            client: None,
            country: world
                .rng
                .pick(&countries)
                .and_then(|c| c.parse().ok())
                .unwrap_or(Country::ZZ),
            prefetch: click.kind == Kind::Prefetch,
            private: false,
            referrer: Some(&page),
        };
        let answer = crashing(world.click.click(&asked), crash(&world)).await;
        if let Ok(Ok(ClickOutcome::Redirect {
            click_id,
            recorded: Recorded::Stream | Recorded::Spill,
            ..
        })) = answer
        {
            lock(&world.requests)[n].acknowledged = Some(click_id);
            return;
        }
        pause(
            &world,
            if world.rng.chance(0.5) {
                UNIT_MS / 2
            } else {
                15 * UNIT_MS
            },
        )
        .await;
        let shown_ms = click.impression_id.map_or(0, |id| id.unix_ms());
        let expires = world.time.now_ms() - shown_ms > TOKEN_MS - 2 * UNIT_MS;
        if click.kind != Kind::Real || expires || world.elapsed_ms() > CLICKS_MS || world.rng.chance(0.3) {
            return;
        }
    }
}

fn start_pumps(world: &Arc<World>, shard: ShardId) {
    let (its, id) = (Arc::clone(world), shard.clone());
    world.time.spawn(async move {
        loop {
            pause(&its, 3 * UNIT_MS / 2).await;
            let (from, to) = its.schedule.lagging;
            if (from..to).contains(&its.elapsed_ms()) {
                continue;
            }
            let environment = its.any_environment();
            let number = environment.number;
            let batch = its.rng.pick(&[1, 4, 16]).copied().unwrap_or(1);
            let pump = Pump::new(Arc::clone(&its.reader), Arc::new(environment), batch);
            if crashing(pump_shard(&its, &pump, &id), crash(&its)).await.is_err() {
                its.restart(number);
            }
        }
    });
    lake::start(world, shard);
}

pub(crate) async fn pump_shard(world: &World, pump: &Pump, id: &ShardId) {
    let Ok(shards) = world.stream.shards().await else {
        return;
    };
    if let Some(shard) = shards.iter().find(|shard| shard.id == *id) {
        // What could not be worked is worked in a later round.
        let _ = pump.shard(shard).await;
    }
}

fn reshard(world: &Arc<World>) {
    let open = world.stream.open_shards();
    let place = world.rng.below(open.len() as u64) as usize;
    let merged = match place.checked_sub(1) {
        Some(left) if world.rng.chance(0.3) => world.stream.merge(&open[left], &open[place]),
        _ => None,
    };
    let new: Vec<ShardId> = match merged {
        Some(child) => vec![child],
        None => world
            .stream
            .split(&open[place], None)
            .into_iter()
            .flatten()
            .collect(),
    };
    for shard in new {
        start_pumps(world, shard);
    }
}

async fn double(world: &World, ad: usize) {
    let ad_id = world.ads[ad];
    if let Ok(Some(ad)) = world.catalog.ad(ad_id).await
        && ad.fan_out < 4
    {
        let _ = world
            .catalog
            .raise_fan_out(ad_id, ad.fan_out, ad.fan_out * 2)
            .await;
    }
}

/// The queue delivers a record that was settled, or is about to be, or a put that timed out lands at last.
async fn copy(world: &World, of: CopyOf) {
    let now_ms = world.time.now_ms();
    let everything = world.everything();
    let stored = everything.iter().flat_map(|(_, records)| records);
    let lines: Vec<Vec<u8>> = match of {
        CopyOf::Recent => stored
            .filter(|record| now_ms - record.arrived_at_ms < LATE_AFTER_MS)
            .map(|record| record.data.clone())
            .collect(),
        CopyOf::Old => stored.map(|record| record.data.clone()).collect(),
        CopyOf::NearlyLate => world
            .spill
            .records()
            .into_iter()
            .map(|record| record.data)
            .collect(),
    };
    let Some(data) = world.rng.pick(&lines) else {
        return;
    };
    let Ok(click) = serde_json::from_slice::<ClickRecord>(data) else {
        return;
    };
    let again = || Outgoing {
        partition_key: click.partition_key.clone(),
        data: data.clone(),
    };
    if matches!(of, CopyOf::NearlyLate) {
        // Copies so close to L that their arrival times decide which of them is late.
        world
            .time
            .sleep_until(click.clicked_at_ms + LATE_AFTER_MS - JITTER_MS / 2)
            .await;
        for _ in 0..3 {
            world.stream.publish(vec![again()]).await;
            pause(world, JITTER_MS / 2).await;
        }
    }
    world.stream.publish(vec![again()]).await;
}
