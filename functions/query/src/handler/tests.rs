use std::sync::Mutex;

use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::api_key::{PresentedKey, Scope};
use clickledger_core::domain::bucket::{Condition, PartialWrite};
use clickledger_core::domain::counter::CounterKey;
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::{AdvertiserId, CampaignId};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::Hour;
use clickledger_core::domain::time::Minute;
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{
    BucketStore, DelayMs, Measured, Measurements, Outgoing, PortError, PortResult, Spill,
};
use clickledger_core::service::metrics::{CountStores, MetricsConfig};
use clickledger_core::service::operations::OperationsPorts;
use clickledger_core::service::reconcile::Restatement;
use clickledger_lambda::http::{HttpEvent, answer};
use clickledger_testkit::faulty::{FaultPlan, Faults, FaultyCatalog};
use clickledger_testkit::memory::{MemoryBuckets, MemoryCatalog, MemoryGauges, MemoryKeys, MemorySeals};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_testkit::virtual_time::VirtualTime;
use serde_json::{Value, json};

use super::*;

/// An advertiser asks for two minutes of ad 731, with the key of [`World::new`].
const METRICS: &str = include_str!("../../../../tests/fixtures/http_metrics.json");
/// 2026-01-02T00:05:00Z.
const NOW_MS: i64 = 1_767_312_300_000;

/// What was started; refuses all but the first.
#[derive(Default)]
struct Started(Mutex<Vec<Restatement>>);

#[async_trait]
impl Restatements for Started {
    async fn start(&self, order: Restatement) -> PortResult<()> {
        let mut started = self.0.lock().unwrap();
        started.push(order);
        match started.len() {
            1 => Ok(()),
            _ => Err(PortError::unavailable("throttled")),
        }
    }
}

/// What was measured; `None` refuses.
struct Told(Option<Measured>);

#[async_trait]
impl Measurements for Told {
    async fn measured(&self, _: i64) -> PortResult<Measured> {
        self.0.ok_or_else(|| PortError::unavailable("throttled"))
    }
}

struct World {
    time: VirtualTime,
    router: Router,
    faults: Faults,
    started: Arc<Started>,
}

impl World {
    /// Ad 731 of advertiser 9, clicked 41 times in the first minute of 2 January; the fixture's key is of this scope.
    fn new(scope: Scope) -> Self {
        Self::gauged(scope, MemoryGauges::default(), None)
    }

    /// The same with these gauges and measurements.
    fn gauged(scope: Scope, gauges: MemoryGauges, measured: Option<Measured>) -> Self {
        let time = VirtualTime::new(NOW_MS);
        let (clock, rng) = (Arc::new(time.clone()), Arc::new(SimRng::new(7)));
        let catalog = MemoryCatalog::default();
        let ad = Ad {
            ad_id: AdId(731),
            campaign_id: CampaignId(12),
            advertiser_id: AdvertiserId(9),
            redirect_url: RedirectUrl::parse("https://shop.example/").unwrap(),
            title: None,
            image_url: None,
            status: AdStatus::Active,
            fan_out: 1,
            version: 1,
            created_ms: 5,
        };
        time.block_on(catalog.create_ad(&ad)).unwrap();
        let faults = Faults::new(time.clone(), SimRng::new(8));
        let catalog = Arc::new(FaultyCatalog::new(Arc::new(catalog), faults.clone()));
        let buckets = MemoryBuckets::default();
        let counted = PartialWrite {
            key: BucketKey {
                entity: Entity::Ad(AdId(731)),
                minute: Minute::of(1_767_312_000_000),
            },
            shard: "shardId-000000000000".into(),
            condition: Condition::Below(SequenceNumber::from(1)),
            last: SequenceNumber::from(41),
            delta: [(CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ), 41)]
                .into_iter()
                .collect(),
        };
        for outcome in time.block_on(buckets.commit(vec![counted])) {
            outcome.unwrap();
        }
        let (buckets, seals) = (Arc::new(buckets), Arc::new(MemorySeals::default()));
        let keys = KeysService::new(Arc::new(MemoryKeys::default()), clock.clone(), rng.clone());
        let key = PresentedKey::generate([1; 9], [2; 32]);
        time.block_on(keys.insert(&key, scope)).unwrap();
        let started = Arc::<Started>::default();
        let query = Query {
            reconciliations: ReconciliationsService::new(seals.clone(), seals.clone()),
            restatements: started.clone(),
            metrics: MetricsService::new(
                CountStores::unsealed(buckets.clone()),
                clock.clone(),
                MetricsConfig::default(),
            ),
            ads: AdsService::new(catalog.clone(), clock.clone(), rng.clone()),
            placements: PlacementsService::new(catalog.clone(), clock.clone(), rng),
            keys,
            operations: OperationsService::new(OperationsPorts {
                buckets,
                manifests: seals.clone(),
                reports: seals,
                gauges: Arc::new(gauges),
                measurements: Arc::new(Told(measured)),
                clock: clock.clone(),
            }),
            catalog,
            clock,
        };
        let router = router(query, EdgeConfig::default());
        Self {
            time,
            router,
            faults,
            started,
        }
    }

    /// The answer to the fixture, changed like this: its status and its body.
    fn asked(&self, change: impl FnOnce(&mut Value)) -> (u64, Value) {
        let mut event: Value = serde_json::from_str(METRICS).unwrap();
        change(&mut event);
        let event: HttpEvent = serde_json::from_value(event).unwrap();
        let answer = self.time.block_on(answer(self.router.clone(), event));
        let answer = serde_json::to_value(answer).unwrap();
        let body = answer["body"].as_str().unwrap();
        (
            answer["statusCode"].as_u64().unwrap(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }

    /// The same for another path without a query.
    fn get(&self, path: &str) -> (u64, Value) {
        self.asked(|event| {
            event["rawPath"] = json!(path);
            event["rawQueryString"] = json!("");
        })
    }
}

fn advertiser(id: u64) -> Scope {
    Scope::Advertiser {
        advertiser_id: AdvertiserId(id),
        read_only: true,
    }
}

#[test]
fn an_advertiser_gets_its_counts_by_the_minute() {
    let (status, page) = World::new(advertiser(9)).asked(|_| {});
    assert_eq!(status, 200, "{page}");
    let clicks: Vec<_> = page["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["start"].as_str().unwrap(), row["clicks"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        clicks,
        [("2026-01-02T00:00:00Z", 41), ("2026-01-02T00:01:00Z", 0)]
    );
    assert_eq!(page["totals"]["clicks"], 41);
}

#[test]
fn counts_are_for_their_owner() {
    let (status, problem) = World::new(advertiser(8)).asked(|_| {});
    assert_eq!(
        (status, problem["type"].clone()),
        (404, json!("/problems/not-found"))
    );
    let (status, _) = World::new(advertiser(9)).asked(|event| {
        event["headers"].as_object_mut().unwrap().remove("authorization");
    });
    assert_eq!(status, 401);
}

#[test]
fn keys_are_made_by_administrators() {
    let make = |scope| {
        World::new(scope).asked(|event| {
            event["rawPath"] = json!("/v1/keys");
            event["rawQueryString"] = json!("");
            event["requestContext"]["http"]["method"] = json!("POST");
            event["headers"]["content-type"] = json!("application/json");
            event["body"] = json!("{\"scope\":\"admin\"}");
        })
    };
    assert_eq!(make(advertiser(9)).0, 403);
    let (status, key) = make(Scope::Admin);
    assert_eq!(status, 201, "{key}");
    assert!(key["key"].as_str().unwrap().starts_with("clk_"));
}

#[test]
fn administrators_have_past_hours_recounted_and_read_what_came_of_it() {
    let ask = |world: &World| {
        world.asked(|event| {
            event["rawPath"] = json!("/v1/reconciliations");
            event["rawQueryString"] = json!("");
            event["requestContext"]["http"]["method"] = json!("POST");
            event["headers"]["content-type"] = json!("application/json");
            event["body"] =
                json!("{\"from\":\"2026-01-01T00:00:00Z\",\"to\":\"2026-01-02T00:00:00Z\",\"dry_run\":true}");
        })
    };
    assert_eq!(ask(&World::new(advertiser(9))).0, 403);
    let world = World::new(Scope::Admin);
    let (status, accepted) = ask(&world);
    assert_eq!(status, 202, "{accepted}");
    let order = Restatement {
        from: Hour::of(1_767_225_600_000),
        to: Hour::of(1_767_312_000_000),
        dry_run: true,
        accept_lowering: false,
        asked_at_ms: world.started.0.lock().unwrap()[0].asked_at_ms,
    };
    assert!(order.asked_at_ms.is_some());
    assert_eq!(*world.started.0.lock().unwrap(), [order]);
    assert_eq!(ask(&world).0, 503, "what was not started is not accepted");
    let (status, reports) = world.get("/v1/reconciliations");
    assert_eq!((status, reports["items"].clone()), (200, json!([])));
    let (status, corrections) = world.get("/v1/reconciliations/2026-01-01T00:00:00Z/corrections");
    assert_eq!((status, corrections["items"].clone()), (200, json!([])));
}

#[test]
fn operators_are_told_what_was_measured_and_the_rest_also_where_nobody_tells_that() {
    let gauges = MemoryGauges::default();
    let measured = Measured {
        count_delay_ms: Some(DelayMs { p50: 310, p99: 1_250 }),
        spill_age_ms: Some(7_000),
        last_resort_24h: Some(3),
    };
    let stands = |measured| World::gauged(Scope::Admin, gauges.clone(), measured).get("/v1/operations");
    // An age of what does not wait is of what waited.
    let (status, told) = stands(Some(measured));
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["count_delay_ms"], json!({ "p50": 310, "p99": 1_250 }));
    assert_eq!(told["last_resort_24h"], 3);
    assert_eq!(told["spill"], json!({ "waiting": 0, "oldest_ms": null }));
    let spilled = Outgoing {
        partition_key: "731#0".to_owned(),
        data: b"no click, and so without a time".to_vec(),
    };
    VirtualTime::new(NOW_MS)
        .block_on(gauges.spill.keep(spilled))
        .unwrap();
    let (_, told) = stands(Some(measured));
    assert_eq!(told["spill"], json!({ "waiting": 1, "oldest_ms": 7_000 }));
    let (status, told) = stands(None);
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["spill"], json!({ "waiting": 1, "oldest_ms": null }));
    for untold in ["count_delay_ms", "last_resort_24h"] {
        assert_eq!(told[untold], Value::Null);
    }
}

#[test]
fn the_description_is_of_the_whole_api_also_of_what_other_functions_serve() {
    let world = World::new(advertiser(9));
    let (status, document) = world.get("/v1/openapi.json");
    assert_eq!(status, 200);
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/click",
        "/v1/ads",
        "/v1/placements/{slot}",
        "/v1/keys",
        "/healthz",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(
        document["paths"]["/click"]["get"].is_object() && document["paths"]["/click"]["post"].is_object()
    );
    let (status, problem) = world.get("/v1/ads");
    assert_eq!(
        (status, problem["type"].clone()),
        (404, json!("/problems/not-found"))
    );
}

#[test]
fn it_is_ready_while_the_tables_answer() {
    let world = World::new(advertiser(9));
    assert_eq!(world.get("/readyz").0, 200);
    world.faults.set(FaultPlan {
        refuse: 1.0,
        ..FaultPlan::default()
    });
    assert_eq!(world.get("/readyz").0, 503);
    assert_eq!(world.get("/healthz").0, 200, "it lives all the same");
}
