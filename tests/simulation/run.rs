//! Plays one schedule, and holds what came out against what is true.

use std::collections::BTreeMap;
use std::sync::Arc;

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::country::Country;
use clickledger_core::domain::ids::ImpressionId;
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::ports::{AdCatalog, ClickStream, Clock, Outgoing, ShardReader};
use clickledger_core::service::click::{ClickOutcome, ClickRequest, Recorded};
use clickledger_core::service::pump::{LakeDelivery, Pump};
use clickledger_testkit::virtual_time::crashing;
use futures_util::FutureExt;

use crate::schedule::{CALM_MS, CLICKS_MS, CopyOf, JITTER_MS, LATE_AFTER_MS, TOKEN_MS, UNIT_MS};
use crate::truth::{Kind, Request, difference, durable, expected, page_of};
use crate::world::{START_MS, World, lock};

const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
];
/// By when a schedule must have come to its end.
const END_MS: i64 = 400 * UNIT_MS;

/// What is wrong after this seed's schedule; nothing, with the rules as they are.
pub(crate) fn run(seed: u64, mutation: Mutation) -> Vec<String> {
    let world = World::new(seed, mutation);
    play(&world);
    world.time.run_until(START_MS + CALM_MS);
    world.calm();
    let mut wrong = settle_down(&world);
    if wrong.is_empty() {
        wrong = check(&world);
    }
    world.time.stop();
    wrong
}

/// Waits until the spill is empty and every shard is worked.
fn settle_down(world: &Arc<World>) -> Vec<String> {
    while world.elapsed_ms() < END_MS {
        world.time.run_until(world.time.now_ms() + 10 * UNIT_MS);
        if world.spill.is_empty() && is_worked(world) {
            return Vec::new();
        }
    }
    vec![format!(
        "no end: {} spilled, {}",
        world.spill.len(),
        is_worked(world)
    )]
}

fn is_worked(world: &World) -> bool {
    let everything = world.everything();
    everything.iter().all(|(shard, records)| {
        ["aggregate", "lake"].iter().all(|consumer| {
            let position = world.stream.position(consumer, shard).now_or_never();
            let done = position.and_then(Result::ok).and_then(|position| position.done);
            done == records.last().map(|record| record.sequence_number)
        })
    })
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
    let counted: BTreeMap<_, _> = world
        .buckets
        .sums()
        .into_iter()
        .filter(|(_, counters)| !counters.is_empty())
        .collect();
    wrong.extend(difference(&counted, &truth.live));

    let dirty = world.seals.all_dirty();
    if !dirty.iter().eq(&truth.dirty) {
        wrong.push(format!("dirty hours {dirty:?}, must be {:?}", truth.dirty));
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
    let delivered = world.lake.records();
    for (shard, records) in &everything {
        let missing = records
            .iter()
            .filter(|record| !delivered.iter().any(|(s, r)| s == shard && r == *record));
        wrong.extend(missing.map(|record| format!("{} is not in the lake", record.sequence_number)));
    }
    if wrong.is_empty() {
        wrong = replay(world);
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
    world.rewind(START_MS + since);
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
            let _ = its.maintenance.round().await;
            its.rewind(START_MS + to);
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
            let _ = its.maintenance.round().await;
        }
    });
}

fn spawn_at(world: &Arc<World>, elapsed_ms: i64, task: impl Future<Output = ()> + Send + 'static) {
    world.time.spawn_at(START_MS + elapsed_ms, task);
}

async fn pause(world: &World, most_ms: i64) {
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
                at_ms: world.time.now_ms(),
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
        let expires = world.time.now_ms() - shown_ms > TOKEN_MS - UNIT_MS;
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
    let its = Arc::clone(world);
    world.time.spawn(async move {
        let lake = Arc::new(LakeDelivery::new(Arc::new(its.lake.clone())));
        let pump = Pump::new(Arc::new(its.stream.clone()), lake, 100);
        loop {
            pause(&its, 3 * UNIT_MS).await;
            pump_shard(&its, &pump, &shard).await;
        }
    });
}

async fn pump_shard(world: &World, pump: &Pump, id: &ShardId) {
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
