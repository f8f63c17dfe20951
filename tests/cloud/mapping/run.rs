//! Plays one seed, and holds what is stored against what must be.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clickledger_aws::{CatalogOptions, Patience, Resource};
use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId};
use clickledger_core::ports::{
    AdCatalog, ClaimStore, ClickStream, Clock, Outgoing, Shard, ShardReader, StreamRecord,
};
use clickledger_core::service::pump::{AGGREGATE, Consumer, Pump};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_tests::fault_proxy::FaultProxy;
use clickledger_tests::function;

use crate::driver::{Mapping, Tally, Told};
use crate::resources::Account;
use crate::stored;
use crate::traffic::{ADS, Traffic};
use crate::truth::{difference, truth};
use crate::weather::{Broken, Weather};

/// How long there is bad weather at most.
const STORM: Duration = Duration::from_secs(40);
/// How long it may take from then on until everything is worked.
const CALM: Duration = Duration::from_secs(300);
/// Longest that a write is held back, and what the emulator needs for it.
const LANDING: Duration = Duration::from_secs(60);
/// For what the suite itself asks of the emulator: it is never what is tried here, and the machine may be busy.
const PATIENT: Patience = Patience {
    try_ms: 60_000,
    total_ms: 180_000,
    pause_ms: 50,
};
/// More than any batch.
const EVERYTHING: usize = 10_000;

/// What came of a seed.
pub(crate) struct Played {
    pub(crate) wrong: Vec<String>,
    pub(crate) told: Told,
    pub(crate) took: Duration,
}

/// Plays a seed, with a broken rule or none.
pub(crate) fn run(seed: u64, broken: Option<Broken>) -> Played {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let world = World::new(seed, broken, runtime.handle().clone());
    let started = Instant::now();
    let wrong = world.play();
    Played {
        wrong,
        told: world.tally.told(),
        took: started.elapsed(),
    }
}

struct World {
    rng: SimRng,
    runtime: tokio::runtime::Handle,
    account: Account,
    traffic: Traffic,
    weather: Arc<Weather>,
    tally: Arc<Tally>,
    proxy: FaultProxy,
    broken: Option<Broken>,
}

impl World {
    fn new(seed: u64, broken: Option<Broken>, runtime: tokio::runtime::Handle) -> Self {
        let rng = SimRng::new(seed);
        let account = Account::new();
        let traffic = Traffic::draw(&rng, clickledger_aws::SystemClock.now_ms());
        runtime.block_on(set_up(&account, &traffic));
        let tally = Arc::new(Tally::default());
        let weather = Arc::new(Weather::draw(&rng, Arc::clone(&tally), broken));
        let of_proxy = Arc::clone(&weather);
        let proxy = FaultProxy::start(Some(account.emulator.url()), move |asked| of_proxy.fault(asked));
        Self {
            rng,
            runtime,
            account,
            traffic,
            weather,
            tally,
            proxy: proxy.unwrap(),
            broken,
        }
    }

    fn mapping(&self, lanes: &str) -> Mapping {
        let mut environment = self.account.environment(&self.proxy.url());
        let table = environment
            .iter_mut()
            .find(|(name, _)| *name == Resource::Lanes.variable());
        if let Some((_, table)) = table {
            lanes.clone_into(table);
        }
        let records = self.traffic.waves.iter().flatten();
        let partition_keys: HashMap<_, _> = records
            .map(|record| (record.data.clone(), record.partition_key.clone()))
            .collect();
        Mapping::new(
            &self.rng,
            Arc::clone(&self.weather),
            Arc::clone(&self.tally),
            self.broken,
            function::binary("aggregate").unwrap(),
            environment,
            partition_keys,
        )
    }

    fn reader(&self) -> Arc<dyn ShardReader> {
        Arc::new(self.account.aws.shards(PATIENT).unwrap())
    }

    fn play(&self) -> Vec<String> {
        let mapping = Arc::new(self.mapping("lanes"));
        let mut wrong = self.drive(&mapping, &self.traffic.waves);
        drop(mapping);
        if wrong.is_empty() {
            wrong = self.runtime.block_on(self.check());
        }
        // A rule that is broken goes on being broken.
        if wrong.is_empty() && self.broken.is_none() {
            wrong = self.replay();
        }
        wrong
    }

    /// Everything once more, by processes that know nothing and without any lane log: the watermarks alone must do.
    fn replay(&self) -> Vec<String> {
        let before = self.runtime.block_on(async {
            self.account.lanes_named("no-lanes").await;
            stored::buckets(&self.account).await
        });
        let wrong = self.drive(&Arc::new(self.mapping("no-lanes")), &[]);
        let after = self.runtime.block_on(stored::buckets(&self.account));
        let changed = difference(&after, &before);
        wrong
            .into_iter()
            .chain(changed.into_iter().map(|what| format!("a replay changed {what}")))
            .collect()
    }

    /// Puts these on the stream and works it, from its beginning, until all of it is done and nothing is under way.
    fn drive(&self, mapping: &Arc<Mapping>, waves: &[Vec<Outgoing>]) -> Vec<String> {
        let reader = self.reader();
        let shards = self.runtime.block_on(reader.shards()).unwrap();
        let ended = AtomicBool::new(false);
        let in_time = std::thread::scope(|scope| {
            for shard in &shards {
                let rng = self.rng.fork();
                let (reader, mapping, ended) = (&reader, mapping, &ended);
                scope.spawn(move || {
                    while !ended.load(Ordering::Acquire) {
                        let sizes = [1, 5, 30, 120, 2_300, EVERYTHING];
                        let size = match self.weather.is_calm() {
                            true => EVERYTHING,
                            false => rng.pick(&sizes).copied().unwrap_or(EVERYTHING),
                        };
                        let consumer = Arc::clone(mapping) as Arc<dyn Consumer>;
                        let pump = Pump::new(Arc::clone(reader), consumer, size);
                        let pumped = self.runtime.block_on(pump.shard(shard)).unwrap();
                        if pumped.done == 0 {
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    }
                });
            }
            let pauses = self.rng.fork();
            for wave in waves {
                self.put(wave);
                std::thread::sleep(Duration::from_millis(pauses.below(600)));
            }
            let limit = if self.weather.is_calm() { CALM } else { STORM };
            let (mut until, mut in_time) = (Instant::now() + limit, false);
            loop {
                in_time |= self.is_worked(&reader, &shards);
                if in_time || Instant::now() >= until {
                    if in_time || self.weather.is_calm() {
                        break;
                    }
                    self.weather.calm();
                    until = Instant::now() + CALM;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            ended.store(true, Ordering::Release);
            in_time
        });
        self.weather.calm();
        let mut wrong = mapping.faults();
        if !in_time {
            let stands = self.runtime.block_on(self.stands(&reader, &shards));
            wrong.push(format!("not worked within {CALM:?} of good weather: {stands:?}"));
            wrong.extend(mapping.logs());
        }
        if !self.proxy.quiet(LANDING) {
            wrong.push("requests are still under way".to_owned());
        }
        wrong
    }

    fn put(&self, wave: &[Outgoing]) {
        self.runtime.block_on(async {
            let stream = self.account.aws.stream(PATIENT).await.unwrap();
            for records in wave.chunks(500) {
                for outcome in stream.publish(records.to_vec()).await {
                    outcome.unwrap();
                }
            }
        });
    }

    fn is_worked(&self, reader: &Arc<dyn ShardReader>, shards: &[Shard]) -> bool {
        self.runtime.block_on(async {
            for shard in shards {
                let position = reader.position(AGGREGATE, &shard.id).await.unwrap();
                if !reader.read(&shard.id, position.done, 1).await.unwrap().is_empty() {
                    return false;
                }
            }
            true
        })
    }

    /// Each shard's position, and how many records are left behind it.
    async fn stands(
        &self,
        reader: &Arc<dyn ShardReader>,
        shards: &[Shard],
    ) -> Vec<(String, Option<String>, usize)> {
        let mut stands = Vec::new();
        for shard in shards {
            let done = reader.position(AGGREGATE, &shard.id).await.unwrap().done;
            let left = reader.read(&shard.id, done, EVERYTHING).await.unwrap().len();
            stands.push((shard.id.to_string(), done.map(|done| done.to_string()), left));
        }
        stands
    }

    async fn check(&self) -> Vec<String> {
        let stream = self.stream().await;
        let owners = stored::owners(&self.account).await;
        let truth = truth(&self.traffic, &stream, &owners);
        let mut wrong = truth.wrong;
        wrong.extend(difference(&stored::buckets(&self.account).await, &truth.buckets));
        let dirty = stored::dirty(&self.account).await;
        if dirty != truth.dirty {
            wrong.push(format!("dirty hours {dirty:?}, must be {:?}", truth.dirty));
        }
        let quarantined = stored::quarantined(&self.account).await;
        if quarantined != truth.quarantined {
            let difference = quarantined.symmetric_difference(&truth.quarantined);
            let difference: Vec<_> = difference.collect();
            wrong.push(format!(
                "quarantined or not, and should not or should: {difference:?}"
            ));
        }
        wrong
    }

    /// Everything that the stream holds.
    async fn stream(&self) -> Vec<(String, Vec<StreamRecord>)> {
        let reader = self.reader();
        let mut stream = Vec::new();
        for shard in reader.shards().await.unwrap() {
            stream.push((shard.id.to_string(), all(&reader, &shard.id).await));
        }
        stream
    }
}

async fn all(reader: &Arc<dyn ShardReader>, shard: &ShardId) -> Vec<StreamRecord> {
    let mut records: Vec<StreamRecord> = Vec::new();
    loop {
        let last = records.last().map(|record| record.sequence_number);
        let more = reader.read(shard, last, EVERYTHING).await.unwrap();
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

/// Tables, stream and bucket; the ads; and the claims that were made before.
async fn set_up(account: &Account, traffic: &Traffic) {
    account.ads().await;
    account.claims().await;
    account.buckets().await;
    account.lanes().await;
    account.hours().await;
    account.bucket().await;
    account.stream(traffic.shards).await;
    let patient = CatalogOptions {
        change: PATIENT,
        ..CatalogOptions::default()
    };
    let catalog = account.aws.catalog(None, patient);
    let catalog = catalog.unwrap();
    for (ad, campaign, advertiser) in ADS {
        let ad = Ad {
            ad_id: AdId(ad),
            campaign_id: CampaignId(campaign),
            advertiser_id: AdvertiserId(advertiser),
            redirect_url: RedirectUrl::parse("https://shop.example/").unwrap(),
            title: None,
            image_url: None,
            status: AdStatus::Active,
            fan_out: 4,
            version: 1,
            created_ms: 1_767_312_000_000,
        };
        catalog.create_ad(&ad).await.unwrap();
    }
    let claims = account.aws.claims(PATIENT).await.unwrap();
    for claim in &traffic.claims {
        claims.claim(*claim, claim.click_id.unix_ms()).await.unwrap();
    }
}
