//! Those who seal: the real services over faulty adapters, and the runs of them.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Condition, PartialWrite};
use clickledger_core::domain::claim_life::ClaimLife;
use clickledger_core::domain::counter::Counters;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::manifest::{DayManifest, Manifest};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::ruling::{Ruling, RulingKind};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::{
    AdCatalog, BucketStore, ClaimStore, Clock, HeartbeatLog, LakeReader, LaneLog, Manifests, PortResult,
    Position, RawLake, Rulings, ShardReader,
};
use clickledger_core::service::pump::LAKE;
use clickledger_core::service::reconcile::{
    BeatConfig, BeatPorts, Beater, HeartbeatProof, HeartbeatProofPorts, LakeProof, PositionProof, Reconcile,
    ReconcileConfig, ReconcilePorts, Restatement,
};
use clickledger_testkit::faulty::{
    FaultPlan, Faults, FaultyBuckets, FaultyHeartbeatLog, FaultyHeartbeats, FaultyLake, FaultyLakeReader,
    FaultyLanes, FaultyLeases, FaultyManifests, FaultyReader, FaultyRulings, FaultySealReports,
    FaultySealedCounts,
};
use clickledger_testkit::memory::{
    MemoryBuckets, MemoryHeartbeatLog, MemoryLakeReader, MemoryLanes, MemorySeals, MemoryStream,
};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_testkit::virtual_time::{VirtualTime, crashing};

use crate::lake::Sink;
use crate::run::{pause, spawn_at};
use crate::schedule::{
    BEAT_MS, HOURS, LATE_AFTER_MS, OBJECT_MS, Outage, SEALING_CALM_MS, SLACK_MS, Schedule, TOKEN_MS, UNIT_MS,
    WAIT_MS,
};
use crate::watch::Watch;
use crate::world::World;

/// What sealing stands on.
pub(crate) struct Ground {
    pub(crate) time: VirtualTime,
    pub(crate) rng: SimRng,
    pub(crate) schedule: Schedule,
    pub(crate) start_ms: i64,
    pub(crate) mutation: Mutation,
    pub(crate) stream: MemoryStream,
    pub(crate) buckets: MemoryBuckets,
    pub(crate) lanes: MemoryLanes,
    pub(crate) seals: MemorySeals,
    pub(crate) catalog: Arc<dyn AdCatalog>,
}

pub(crate) struct Sealing {
    pub(crate) lake: MemoryLakeReader,
    pub(crate) beats: MemoryHeartbeatLog,
    pub(crate) watch: Watch,
    pub(crate) reconcile: Reconcile,
    beater: Beater,
    lake_faults: Faults,
    faults: Vec<Faults>,
}

/// Flips and rulings by a run that sometimes stands still before it makes them.
struct Stalling {
    manifests: FaultyManifests,
    rulings: FaultyRulings,
    time: VirtualTime,
    rng: SimRng,
    until_ms: i64,
    stall: f64,
}

impl Stalling {
    async fn stall(&self) {
        if self.time.now_ms() < self.until_ms && self.rng.chance(self.stall) {
            let most = if self.rng.chance(0.2) {
                60 * UNIT_MS
            } else {
                4 * UNIT_MS
            };
            self.time.sleep(self.rng.between(0, most).unsigned_abs()).await;
        }
    }
}

#[async_trait]
impl Manifests for Stalling {
    async fn hours(&self, from: Hour, to: Hour) -> PortResult<Vec<Manifest>> {
        self.manifests.hours(from, to).await
    }

    async fn days(&self, from: Day, to: Day) -> PortResult<Vec<DayManifest>> {
        self.manifests.days(from, to).await
    }

    async fn flip(&self, new: &Manifest) -> PortResult<bool> {
        self.stall().await;
        self.manifests.flip(new).await
    }

    async fn flip_day(&self, day: Day, generation: u64, version: u64) -> PortResult<bool> {
        self.stall().await;
        self.manifests.flip_day(day, generation, version).await
    }
}

#[async_trait]
impl Rulings for Stalling {
    async fn rule(&self, ruling: Ruling) -> PortResult<Ruling> {
        self.stall().await;
        self.rulings.rule(ruling).await
    }

    async fn of_hour(
        &self,
        hour: Hour,
        after: Option<(ClickId, RulingKind)>,
        limit: usize,
    ) -> PortResult<Vec<Ruling>> {
        self.rulings.of_hour(hour, after, limit).await
    }
}

impl Sealing {
    pub(crate) fn new(ground: &Ground, claims: &Arc<dyn ClaimStore>) -> Self {
        let plan = &ground.schedule.sealing;
        let faults = |down: Outage| {
            let faults = Faults::new(ground.time.clone(), ground.rng.fork());
            faults.set(FaultPlan {
                refuse: plan.fault / 2.0,
                lose_answer: plan.fault / 2.0,
                late: plan.zombie,
                late_ms: 20 * UNIT_MS as u64,
                before_ms: (0, ground.schedule.latency_ms),
                after_ms: (0, ground.schedule.latency_ms),
                timeout_ms: (0, 2 * ground.schedule.latency_ms),
                outages: vec![(ground.start_ms + down.0, ground.start_ms + down.1)],
                ..FaultPlan::default()
            });
            faults
        };
        let (stores, reader) = (faults(plan.stores_down), faults(plan.reader_down));
        let all = [stores.clone(), reader.clone()];
        let (stream, beating) = (faults((0, 0)), faults(ground.schedule.stream_down));
        beating.change(|plan| plan.lose_answer = ground.schedule.lost);
        let clock: Arc<dyn Clock> = Arc::new(ground.time.clone());
        let lake = MemoryLakeReader::with_mutation(ground.mutation);
        let beats = MemoryHeartbeatLog::default();
        let watch = Watch::new(ground, lake.clone());
        let faulty_lake: Arc<dyn LakeReader> =
            Arc::new(FaultyLakeReader::new(Arc::new(lake.clone()), reader));
        let shards: Arc<dyn ShardReader> =
            Arc::new(FaultyReader::new(Arc::new(ground.stream.clone()), stream.clone()));
        let log: Arc<dyn HeartbeatLog> =
            Arc::new(FaultyHeartbeatLog::new(Arc::new(beats.clone()), stores.clone()));
        let lanes: Arc<dyn LaneLog> =
            Arc::new(FaultyLanes::new(Arc::new(ground.lanes.clone()), stores.clone()));
        let proof: Arc<dyn LakeProof> = if plan.firehose {
            let ports = HeartbeatProofPorts {
                shards: Arc::clone(&shards),
                log: Arc::clone(&log),
                lanes,
                lake: Arc::clone(&faulty_lake),
                clock: Arc::clone(&clock),
            };
            Arc::new(HeartbeatProof::new(ports, OBJECT_MS, 4, ground.mutation))
        } else {
            Arc::new(PositionProof::new(Arc::clone(&shards), Arc::clone(&clock)))
        };
        let stalling = Arc::new(Stalling {
            manifests: FaultyManifests::new(Arc::new(watch.clone()), stores.clone()),
            rulings: FaultyRulings::new(Arc::new(ground.seals.clone()), stores.clone()),
            time: ground.time.clone(),
            rng: ground.rng.fork(),
            until_ms: ground.start_ms + SEALING_CALM_MS,
            stall: plan.stall,
        });
        let seals = || Arc::new(ground.seals.clone());
        let buckets: Arc<dyn BucketStore> = Arc::new(FaultyBuckets::new(
            Arc::new(ground.buckets.clone()),
            stores.clone(),
        ));
        let ports = ReconcilePorts {
            lake: faulty_lake,
            proof,
            claims: Arc::clone(claims),
            buckets,
            catalog: Arc::clone(&ground.catalog),
            manifests: stalling.clone(),
            leases: Arc::new(FaultyLeases::new(seals(), stores.clone())),
            rulings: stalling,
            counts: Arc::new(FaultySealedCounts::new(seals(), stores.clone())),
            reports: Arc::new(FaultySealReports::new(seals(), stores)),
            clock: Arc::clone(&clock),
            entropy: Arc::new(ground.rng.fork()),
        };
        let config = ReconcileConfig {
            late_after_ms: LATE_AFTER_MS,
            slack_ms: SLACK_MS,
            life: ClaimLife {
                token_ms: TOKEN_MS,
                wait_ms: WAIT_MS,
            },
            slice_rows: 61,
            page: ground.rng.pick(&[3, 100]).copied().unwrap_or(100),
            at_once: 4,
            lease_ms: UNIT_MS,
            tries: 3,
            close_after_ms: plan.close_after_ms,
            keep_versions_ms: 10 * UNIT_MS,
            ..ReconcileConfig::default()
        };
        let beater = Beater::new(
            BeatPorts {
                shards,
                heartbeats: Arc::new(FaultyHeartbeats::new(
                    Arc::new(ground.stream.clone()),
                    beating.clone(),
                )),
                log,
                clock,
                entropy: Arc::new(ground.rng.fork()),
            },
            BeatConfig {
                tries: 3,
                // So long that an object may end between two tries.
                pause_ms: UNIT_MS.unsigned_abs() / 2,
                at_once: 4,
                ..BeatConfig::default()
            },
        );
        let lake_faults = faults((0, 0));
        Self {
            reconcile: Reconcile::new(ports, config, ground.mutation),
            faults: all
                .into_iter()
                .chain([stream, beating, lake_faults.clone()])
                .collect(),
            lake_faults,
            lake,
            beats,
            watch,
            beater,
        }
    }

    /// Where the pump delivers.
    pub(crate) fn sink(&self) -> Arc<dyn RawLake> {
        Arc::new(FaultyLake::new(
            Arc::new(Sink(self.lake.clone())),
            self.lake_faults.clone(),
        ))
    }

    pub(crate) fn calm(&self) {
        self.faults.iter().for_each(Faults::calm);
    }
}

/// Whether a run ends at this await.
fn crash(world: &Arc<World>) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let world = Arc::clone(world);
    let chance = world.schedule.sealing.crash;
    Arc::new(move || world.elapsed_ms() < SEALING_CALM_MS && world.rng.chance(chance))
}

/// Every hour that is clicked in, and the one after.
pub(crate) fn all_hours(world: &World) -> Restatement {
    let from = Hour::of(world.start_ms);
    Restatement {
        from,
        to: Hour(from.0 + HOURS + 1),
        dry_run: false,
        accept_lowering: false,
        asked_at_ms: None,
    }
}

/// Sets heartbeats and runs going.
pub(crate) fn play(world: &Arc<World>) {
    if world.schedule.sealing.firehose {
        let its = Arc::clone(world);
        world.time.spawn(async move {
            loop {
                let _ = crashing(its.sealing.beater.round(), crash(&its)).await;
                its.time.sleep(BEAT_MS.unsigned_abs()).await;
            }
        });
    }
    for _ in 0..2 {
        let its = Arc::clone(world);
        world.time.spawn(async move {
            loop {
                pause(&its, 6 * UNIT_MS).await;
                let _ = crashing(its.sealing.reconcile.hourly(), crash(&its)).await;
            }
        });
    }
    for at in world.schedule.sealing.dailies.clone() {
        let its = Arc::clone(world);
        spawn_at(world, at, async move {
            while !matches!(
                crashing(its.sealing.reconcile.daily(), crash(&its)).await,
                Ok(Ok(run)) if run.done
            ) {
                pause(&its, 3 * UNIT_MS).await;
            }
        });
    }
    for at in world.schedule.sealing.restatements.clone() {
        let its = Arc::clone(world);
        spawn_at(world, at, async move {
            let _ = crashing(its.sealing.reconcile.restate(&all_hours(&its)), crash(&its)).await;
        });
    }
    if let Some(at) = world.schedule.sealing.damage {
        let its = Arc::clone(world);
        spawn_at(world, at, async move { damage(&its).await });
    }
}

/// What has expired by its own time, or lies in the lake for certain: a lane's items up to its last heartbeat.
pub(crate) async fn proved_by_heartbeats(world: &World) {
    for shard in world.stream.all_shards() {
        let last = world.sealing.beats.all(&shard).into_iter().next_back();
        let position = Position {
            done: last.map(|beat| beat.sequence_number),
            ended: false,
        };
        let _ = world.stream.advance(LAKE, &shard, position).await;
    }
}

/// Somebody adds a click to a bucket of every entity that it would go to, by hand.
async fn damage(world: &World) {
    let sealed = world.seals.all_manifests();
    let sealed = sealed.iter().filter(|manifest| manifest.is_sealed());
    let sealed: Vec<Hour> = sealed.map(|manifest| manifest.hour).collect();
    let all = world.buckets.all();
    let counted: Vec<_> = all
        .iter()
        .filter(|partial| matches!(partial.key.entity, Entity::Ad(_)) && !partial.counters.is_empty())
        .filter(|partial| !sealed.contains(&partial.key.minute.hour()))
        .collect();
    let Some(partial) = world.rng.pick(&counted) else {
        return;
    };
    let minute = partial.key.minute;
    let Some((counter, _)) = partial.counters.iter().next() else {
        return;
    };
    let write = |entity| PartialWrite {
        key: BucketKey { entity, minute },
        shard: "by hand".into(),
        condition: Condition::Below(SequenceNumber::from(1)),
        last: SequenceNumber::from(1),
        delta: Counters::from_iter([(counter, 1)]),
    };
    world
        .buckets
        .commit(vec![write(partial.key.entity), write(Entity::Total)])
        .await;
    world.sealing.watch.damaged(minute.hour());
}
