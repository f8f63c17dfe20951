//! One schedule's world: the real services over faulty in-memory adapters, on virtual time.
//!
//! Invariant: nothing in here counts. What is counted comes out of the services, what must be counted out of `truth`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::claim_life::ClaimLife;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ClickId, ImpressionId, PlacementId};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::HOUR_MS;
use clickledger_core::domain::token::Impression;
use clickledger_core::ports::{
    AdCatalog, Claim, ClaimStore, Claimed, Clock, Entropy, PortResult, ShardReader, StreamRecord,
};
use clickledger_core::service::aggregate::{Aggregate, AggregateConfig, AggregatePorts, BatchRecord};
use clickledger_core::service::click::{ClickConfig, ClickPorts, ClickService};
use clickledger_core::service::key_ring::KeyRing;
use clickledger_core::service::maintenance::{Maintenance, MaintenanceConfig, MaintenancePorts};
use clickledger_core::service::pump::{AGGREGATE, Consumer};
use clickledger_core::service::settle::{Settle, SettlePorts};
use clickledger_testkit::faulty::{
    FaultPlan, Faults, FaultyBuckets, FaultyClaims, FaultyLanes, FaultyQuarantine, FaultyReader, FaultySeals,
    FaultySpill, FaultyStream,
};
use clickledger_testkit::memory::{
    MemoryBuckets, MemoryCatalog, MemoryClaims, MemoryLanes, MemoryQuarantine, MemorySeals, MemorySpill,
    MemoryStream, MemoryTokenKeys, StreamOptions,
};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_testkit::virtual_time::VirtualTime;

use crate::schedule::{
    ADS, CALM_MS, JITTER_MS, LATE_AFTER_MS, Outage, SLACK_MS, Schedule, TOKEN_MS, UNIT_MS, WAIT_MS,
};
use crate::sealing::{Ground, Sealing};
use crate::truth::Request;

/// 2026-01-02T00:00:00Z.
const MIDNIGHT_MS: i64 = 1_767_312_000_000;
/// Processes that work batches: which one gets the next is anybody's guess.
const ENVIRONMENTS: usize = 3;

/// The claims, and who was the first owner of each impression.
#[derive(Clone, Default)]
pub(crate) struct Claims {
    stored: MemoryClaims,
    first: Arc<Mutex<HashMap<ImpressionId, ClickId>>>,
}

impl Claims {
    pub(crate) fn owners(&self) -> HashMap<ImpressionId, ClickId> {
        lock(&self.first).clone()
    }
}

#[async_trait]
impl ClaimStore for Claims {
    async fn claim(&self, claim: Claim, now_ms: i64) -> PortResult<Claimed> {
        let claimed = self.stored.claim(claim, now_ms).await;
        if let Some(owner) = self.stored.owner(claim.impression_id) {
            lock(&self.first).entry(claim.impression_id).or_insert(owner);
        }
        claimed
    }

    async fn purge(&self, now_ms: i64, limit: usize) -> PortResult<usize> {
        self.stored.purge(now_ms, limit).await
    }
}

/// The clock of another machine.
struct Skewed {
    time: VirtualTime,
    by_ms: i64,
}

#[async_trait]
impl Clock for Skewed {
    fn now_ms(&self) -> i64 {
        self.time.now_ms() + self.by_ms
    }

    async fn sleep(&self, ms: u64) {
        self.time.sleep(ms).await;
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct World {
    pub(crate) time: VirtualTime,
    pub(crate) rng: SimRng,
    pub(crate) schedule: Schedule,
    pub(crate) mutation: Mutation,
    pub(crate) stream: MemoryStream,
    pub(crate) reader: Arc<dyn ShardReader>,
    pub(crate) claims: Claims,
    pub(crate) buckets: MemoryBuckets,
    pub(crate) lanes: MemoryLanes,
    pub(crate) catalog: MemoryCatalog,
    pub(crate) spill: MemorySpill,
    pub(crate) quarantine: MemoryQuarantine,
    pub(crate) seals: MemorySeals,
    pub(crate) sealing: Sealing,
    pub(crate) start_ms: i64,
    pub(crate) ads: Vec<AdId>,
    pub(crate) key_ring: Arc<KeyRing>,
    pub(crate) click: ClickService,
    pub(crate) settle: Settle,
    pub(crate) maintenance: Maintenance,
    pub(crate) requests: Mutex<Vec<Request>>,
    faults: Vec<Faults>,
    aggregate_ports: AggregatePorts,
    environments: Mutex<Vec<Arc<Aggregate>>>,
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Mutation) -> Arc<Self> {
        let rng = SimRng::new(seed);
        let schedule = Schedule::draw(&rng.fork());
        let start_ms = MIDNIGHT_MS + schedule.sealing.first_hour * HOUR_MS;
        let time = VirtualTime::new(start_ms);
        let clock: Arc<dyn Clock> = Arc::new(time.clone());
        let entropy: Arc<dyn Entropy> = Arc::new(rng.fork());
        let stream = MemoryStream::new(
            Arc::clone(&clock),
            StreamOptions::random(schedule.shards, &rng.fork(), JITTER_MS),
        );
        let (claims, buckets, lanes) = (
            Claims::default(),
            MemoryBuckets::default(),
            MemoryLanes::default(),
        );
        let (catalog, spill) = (MemoryCatalog::default(), MemorySpill::default());
        let (quarantine, seals) = (MemoryQuarantine::default(), MemorySeals::default());
        let skewed = Arc::new(Skewed {
            time: time.clone(),
            by_ms: schedule.skew_ms,
        });

        let faults = |change: &dyn Fn(&mut FaultPlan)| {
            let mut plan = FaultPlan {
                refuse: schedule.refuse,
                lose_answer: schedule.lost / 2.0,
                late: schedule.zombie,
                late_ms: 6 * UNIT_MS as u64,
                before_ms: (0, schedule.latency_ms),
                after_ms: (0, schedule.latency_ms),
                timeout_ms: (0, 2 * schedule.latency_ms),
                ..FaultPlan::default()
            };
            change(&mut plan);
            let faults = Faults::new(time.clone(), rng.fork());
            faults.set(plan);
            faults
        };
        let outage = |(from, to): Outage| vec![(start_ms + from, start_ms + to)];
        let stores = faults(&|_| {});
        let bucket_faults = faults(&|_| {});
        let reader_faults = faults(&|plan| {
            plan.late /= 4.0;
            plan.short_read = 0.2;
        });
        let claim_faults = faults(&|plan| {
            plan.lose_answer = schedule.lost;
            plan.refuse /= 4.0;
            plan.late_ms = 2 * UNIT_MS as u64;
            plan.outages = outage(schedule.claims_down);
        });
        let stream_faults = faults(&|plan| {
            plan.lose_answer = schedule.lost;
            plan.refuse = schedule.stream_refuse;
            plan.late_ms = UNIT_MS as u64 / 2;
            plan.twice = 0.02;
            plan.outages = outage(schedule.stream_down);
        });
        let spill_faults = faults(&|plan| {
            plan.refuse = schedule.spill_refuse;
            plan.late = 0.0;
            plan.twice = 0.1;
        });

        let faulty_stream = Arc::new(FaultyStream::new(Arc::new(stream.clone()), stream_faults.clone()));
        let faulty_claims: Arc<dyn ClaimStore> =
            Arc::new(FaultyClaims::new(Arc::new(claims.clone()), claim_faults.clone()));
        let faulty_spill = Arc::new(FaultySpill::new(Arc::new(spill.clone()), spill_faults.clone()));
        let shared_catalog: Arc<dyn AdCatalog> = Arc::new(catalog.clone());
        let life = ClaimLife {
            token_ms: TOKEN_MS,
            wait_ms: WAIT_MS,
        };
        let key_ring = time.block_on(KeyRing::load(Arc::new(MemoryTokenKeys::new(Arc::new(
            rng.fork(),
        )))));
        let key_ring = Arc::new(key_ring.unwrap());
        let click = ClickService::new(
            ClickPorts {
                catalog: Arc::clone(&shared_catalog),
                claims: Arc::clone(&faulty_claims),
                stream: faulty_stream.clone(),
                spill: faulty_spill.clone(),
                clock: skewed,
                entropy,
            },
            Arc::clone(&key_ring),
            ClickConfig {
                life,
                ..ClickConfig::default()
            },
            mutation,
        );
        let settle = Settle::new(
            SettlePorts {
                spill: faulty_spill,
                stream: faulty_stream,
                catalog: Arc::clone(&shared_catalog),
                clock: Arc::clone(&clock),
            },
            mutation,
        );
        let maintenance = Maintenance::new(
            MaintenancePorts {
                shards: Arc::new(stream.clone()),
                lanes: Arc::new(lanes.clone()),
                claims: Arc::new(claims.clone()),
                clock: Arc::clone(&clock),
            },
            MaintenanceConfig {
                window_ms: LATE_AFTER_MS + SLACK_MS,
                jitter_ms: JITTER_MS,
                ..MaintenanceConfig::default()
            },
        );
        let sealing = Sealing::new(
            &Ground {
                time: time.clone(),
                rng: rng.fork(),
                schedule: schedule.clone(),
                start_ms,
                mutation,
                stream: stream.clone(),
                buckets: buckets.clone(),
                lanes: lanes.clone(),
                seals: seals.clone(),
                catalog: Arc::clone(&shared_catalog),
            },
            &faulty_claims,
        );
        let aggregate_ports = AggregatePorts {
            claims: faulty_claims,
            buckets: Arc::new(FaultyBuckets::new(
                Arc::new(buckets.clone()),
                bucket_faults.clone(),
            )),
            lanes: Arc::new(FaultyLanes::new(Arc::new(lanes.clone()), stores.clone())),
            shards: Arc::new(stream.clone()),
            quarantine: Arc::new(FaultyQuarantine::new(
                Arc::new(quarantine.clone()),
                stores.clone(),
            )),
            seals: Arc::new(FaultySeals::new(Arc::new(seals.clone()), stores.clone())),
            catalog: shared_catalog,
            clock,
        };
        let world = Arc::new(Self {
            ads: (1..=ADS as u64).map(AdId).collect(),
            requests: Mutex::default(),
            faults: vec![
                stores,
                bucket_faults,
                claim_faults,
                stream_faults,
                spill_faults,
                reader_faults.clone(),
            ],
            environments: Mutex::default(),
            sealing,
            start_ms,
            time,
            rng,
            schedule,
            mutation,
            reader: Arc::new(FaultyReader::new(Arc::new(stream.clone()), reader_faults)),
            stream,
            claims,
            buckets,
            lanes,
            catalog,
            spill,
            quarantine,
            seals,
            key_ring,
            click,
            settle,
            maintenance,
            aggregate_ports,
        });
        world.restart_all();
        world.make_ads();
        world
    }

    fn make_ads(&self) {
        for ad_id in &self.ads {
            let ad = Ad {
                ad_id: *ad_id,
                campaign_id: CampaignId(10 + ad_id.0 % 2),
                advertiser_id: AdvertiserId(20),
                redirect_url: RedirectUrl::parse("https://shop.example/").unwrap(),
                title: None,
                image_url: None,
                status: AdStatus::Active,
                fan_out: 1,
                version: 1,
                created_ms: self.start_ms,
            };
            self.time.block_on(self.catalog.create_ad(&ad)).unwrap();
        }
    }

    /// Milliseconds since the start.
    pub(crate) fn elapsed_ms(&self) -> i64 {
        self.time.now_ms() - self.start_ms
    }

    /// A new impression of the ad, with its token.
    pub(crate) fn show(&self, ad: usize) -> (ImpressionId, String) {
        let mut random = [0; 10];
        self.rng.fill(&mut random);
        let impression = Impression {
            impression_id: ImpressionId::new(self.time.now_ms() - UNIT_MS, random),
            ad_id: self.ads[ad],
            placement_id: PlacementId(30 + self.rng.below(2)),
            // A while ago, so that no skewed clock sees it in the future.
            issued_at_s: ((self.time.now_ms() - UNIT_MS) / 1000) as u32,
        };
        (
            impression.impression_id,
            self.key_ring.keys().ring.issue(&impression),
        )
    }

    /// A process that has just been started.
    fn environment(&self) -> Arc<Aggregate> {
        let any = |choices: &[usize]| self.rng.pick(choices).copied().unwrap_or(1);
        let config = AggregateConfig {
            late_after_ms: LATE_AFTER_MS,
            slack_ms: SLACK_MS,
            sub_batch: any(&[1, 3, 8]),
            counters_per_write: any(&[1, 2, 150]),
            life: ClaimLife {
                token_ms: TOKEN_MS,
                wait_ms: WAIT_MS,
            },
            ..AggregateConfig::default()
        };
        Arc::new(Aggregate::new(
            self.aggregate_ports.clone(),
            config,
            self.mutation,
        ))
    }

    pub(crate) fn restart_all(&self) {
        *lock(&self.environments) = (0..ENVIRONMENTS).map(|_| self.environment()).collect();
    }

    pub(crate) fn restart(&self, environment: usize) {
        lock(&self.environments)[environment] = self.environment();
    }

    /// One of the processes, for one batch.
    pub(crate) fn any_environment(self: &Arc<Self>) -> Environment {
        let number = self.rng.below(ENVIRONMENTS as u64) as usize;
        Environment {
            number,
            aggregate: Arc::clone(&lock(&self.environments)[number]),
            world: Arc::clone(self),
        }
    }

    /// Every shard that ever was, with all that it ever took.
    pub(crate) fn everything(&self) -> Vec<(ShardId, Vec<StreamRecord>)> {
        let shards = self.stream.all_shards().into_iter();
        shards
            .map(|shard| (shard.clone(), self.stream.all_records(&shard)))
            .collect()
    }

    /// No more faults, but for those who seal.
    pub(crate) fn calm(&self) {
        self.faults.iter().for_each(Faults::calm);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.elapsed_ms() >= CALM_MS
    }

    /// Puts the aggregate's positions back to the first record that arrived at `since_ms` or later.
    pub(crate) fn rewind(&self, since_ms: i64) {
        for (shard, records) in self.everything() {
            let position = self.time_position(&shard);
            let before = records
                .iter()
                .take_while(|record| record.arrived_at_ms < since_ms);
            let to = before.last().map(|record| record.sequence_number);
            if position > to {
                self.stream.rewind(AGGREGATE, &shard, to);
            }
        }
    }

    fn time_position(&self, shard: &ShardId) -> Option<SequenceNumber> {
        futures_util::FutureExt::now_or_never(self.stream.position(AGGREGATE, shard))
            .and_then(Result::ok)
            .and_then(|position| position.done)
    }
}

/// A process, as the pump sees it.
pub(crate) struct Environment {
    pub(crate) number: usize,
    aggregate: Arc<Aggregate>,
    world: Arc<World>,
}

#[async_trait]
impl Consumer for Environment {
    fn name(&self) -> &str {
        AGGREGATE
    }

    async fn consume(&self, shard: &ShardId, batch: &[StreamRecord]) -> Option<SequenceNumber> {
        let rng = &self.world.rng;
        let records: Vec<_> = batch
            .iter()
            .map(|record| BatchRecord {
                sequence_number: record.sequence_number,
                arrived_at_ms: record.arrived_at_ms,
                data: &record.data,
            })
            .collect();
        let storm = !self.world.is_calm();
        let deadline_ms =
            (storm && rng.chance(0.05)).then(|| self.world.time.now_ms() + rng.between(0, 1500));
        let failed = self.aggregate.run(shard, &records, deadline_ms).await;
        // Its answer was lost: the whole batch comes again, perhaps cut otherwise.
        if storm && rng.chance(0.1) {
            return records.first().map(|record| record.sequence_number);
        }
        failed
    }
}
