//! A router with a data folder of its own, on a clock that the test sets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use clickledger_core::domain::ad::{Ad, Placement};
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::claim_life::ClaimLife;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId, SlotName};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::ports::{
    AdCatalog, AdFilter, AdvertiserAds, CampaignAds, Changed, Clock, PortError, PortResult, ShardReader,
};
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::aggregate::{Aggregate, AggregateConfig, AggregatePorts};
use clickledger_core::service::click::{ClickConfig, ClickPorts, ClickService};
use clickledger_core::service::delays::{Delays, Timed};
use clickledger_core::service::impressions::ImpressionsService;
use clickledger_core::service::key_ring::KeyRing;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::{CountStores, MetricsConfig, MetricsService};
use clickledger_core::service::operations::{OperationsPorts, OperationsService};
use clickledger_core::service::placements::PlacementsService;
use clickledger_core::service::pump::Pump;
use clickledger_core::service::rate_limit::RateLimits;
use clickledger_core::service::reconcile::Restatement;
use clickledger_core::service::reconciliations::ReconciliationsService;
use clickledger_embedded::{Catalog, CommitGate, Embedded, OpenOptions, SystemEntropy};
use clickledger_http::{EdgeConfig, Readiness, Restatements, Services, router};
use clickledger_testkit::memory::MemorySeals;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

/// 2026-01-02T00:00:30Z.
pub(crate) const NOW_MS: i64 = 1_767_312_030_000;
pub(crate) const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A clock that stands where it is put; waiting takes real time.
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for SetClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    }
}

/// How the catalogue behaves.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Works = 0,
    Down = 1,
    Panics = 2,
}

/// The embedded catalogue, with a switch.
pub(crate) struct Switched {
    inner: Catalog,
    mode: AtomicU8,
}

impl Switched {
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    fn there(&self) -> PortResult<&Catalog> {
        match self.mode.load(Ordering::Relaxed) {
            1 => Err(PortError::unavailable("the secret inner life of a store")),
            2 => panic!("the secret inner life of a store"),
            _ => Ok(&self.inner),
        }
    }
}

#[async_trait]
impl AdCatalog for Switched {
    async fn ad(&self, ad_id: AdId) -> PortResult<Option<Arc<Ad>>> {
        self.there()?.ad(ad_id).await
    }
    async fn create_ad(&self, ad: &Ad) -> PortResult<Changed> {
        self.there()?.create_ad(ad).await
    }
    async fn update_ad(&self, ad: &Ad, expected: u64) -> PortResult<Changed> {
        self.there()?.update_ad(ad, expected).await
    }
    async fn list_ads(&self, filter: AdFilter, after: Option<AdId>, limit: usize) -> PortResult<Vec<Ad>> {
        self.there()?.list_ads(filter, after, limit).await
    }
    async fn list_advertisers(
        &self,
        after: Option<AdvertiserId>,
        limit: usize,
    ) -> PortResult<Vec<AdvertiserAds>> {
        self.there()?.list_advertisers(after, limit).await
    }
    async fn list_campaigns(
        &self,
        advertiser_id: Option<AdvertiserId>,
        after: Option<CampaignId>,
        limit: usize,
    ) -> PortResult<Vec<CampaignAds>> {
        self.there()?.list_campaigns(advertiser_id, after, limit).await
    }
    async fn raise_fan_out(&self, ad_id: AdId, from: u32, to: u32) -> PortResult<bool> {
        self.there()?.raise_fan_out(ad_id, from, to).await
    }
    async fn placement(&self, slot: &SlotName) -> PortResult<Option<Arc<Placement>>> {
        self.there()?.placement(slot).await
    }
    async fn placement_by_id(&self, placement_id: PlacementId) -> PortResult<Option<Arc<Placement>>> {
        self.there()?.placement_by_id(placement_id).await
    }
    async fn put_placement(&self, placement: &Placement, expected: Option<u64>) -> PortResult<Changed> {
        self.there()?.put_placement(placement, expected).await
    }
    async fn list_placements(&self, after: Option<&SlotName>, limit: usize) -> PortResult<Vec<Placement>> {
        self.there()?.list_placements(after, limit).await
    }
}

/// Restatements that are asked for and never done.
#[derive(Default)]
pub(crate) struct Orders {
    pub(crate) placed: Mutex<Vec<Restatement>>,
    pub(crate) refused: AtomicBool,
}

#[async_trait]
impl Restatements for Orders {
    async fn start(&self, order: Restatement) -> PortResult<()> {
        if self.refused.load(Ordering::Relaxed) {
            return Err(PortError::unavailable("its inner life"));
        }
        self.placed.lock().unwrap().push(order);
        Ok(())
    }
}

struct AlwaysReady;

#[async_trait]
impl Readiness for AlwaysReady {
    async fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A router and what is behind it.
pub(crate) struct World {
    pub(crate) store: Embedded,
    pub(crate) gate: CommitGate,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) catalog: Arc<Switched>,
    pub(crate) keys: Arc<KeysService>,
    /// What sealing left.
    pub(crate) seals: MemorySeals,
    pub(crate) orders: Arc<Orders>,
    /// How long clicks waited to be counted.
    pub(crate) delays: Delays,
    pub(crate) services: Services,
    pub(crate) router: Router,
    /// An administrator's key.
    pub(crate) admin: String,
    pub(crate) _dir: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(EdgeConfig::default()).await
    }

    pub(crate) async fn with(config: EdgeConfig) -> Self {
        Self::made(config, RateLimits::default()).await
    }

    /// Under these limits.
    pub(crate) async fn limited(limits: RateLimits) -> Self {
        Self::made(EdgeConfig::default(), limits).await
    }

    async fn made(config: EdgeConfig, limits: RateLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SetClock(AtomicI64::new(NOW_MS)));
        let gate = CommitGate::default();
        let options = OpenOptions {
            clock: clock.clone(),
            gate: gate.clone(),
            ..OpenOptions::default()
        };
        let store = Embedded::open(dir.path(), options).unwrap();
        let catalog = Arc::new(Switched {
            inner: store.catalog(),
            mode: AtomicU8::new(0),
        });
        let entropy = Arc::new(SystemEntropy);
        let ring = Arc::new(KeyRing::load(Arc::new(store.token_keys())).await.unwrap());
        let ports = ClickPorts {
            catalog: catalog.clone(),
            claims: Arc::new(store.claims()),
            stream: Arc::new(store.stream()),
            spill: Arc::new(store.spill()),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let keys = KeysService::new(Arc::new(store.keys()), clock.clone(), entropy.clone());
        let keys = Arc::new(keys.limited(limits));
        let (seals, orders) = (MemorySeals::default(), Arc::new(Orders::default()));
        let sealed = Arc::new(seals.clone());
        let stores = CountStores {
            buckets: Arc::new(store.buckets()),
            manifests: sealed.clone(),
            sealed: sealed.clone(),
        };
        let delays = Delays::default();
        let operations = OperationsPorts {
            buckets: Arc::new(store.buckets()),
            manifests: sealed.clone(),
            reports: sealed.clone(),
            gauges: Arc::new(store.gauges()),
            measurements: Arc::new(delays.clone()),
            clock: clock.clone(),
        };
        let services = Services {
            click: Arc::new(ClickService::new(
                ports,
                Arc::clone(&ring),
                ClickConfig::default(),
                Mutation::default(),
            )),
            ads: Arc::new(AdsService::new(catalog.clone(), clock.clone(), entropy.clone())),
            placements: Arc::new(PlacementsService::new(
                catalog.clone(),
                clock.clone(),
                entropy.clone(),
            )),
            impressions: Arc::new(ImpressionsService::new(
                catalog.clone(),
                ring,
                clock.clone(),
                entropy,
                ClaimLife::default().token_ms,
            )),
            keys: Arc::clone(&keys),
            metrics: MetricsService::new(stores, clock.clone(), MetricsConfig::default()),
            reconciliations: ReconciliationsService::new(sealed.clone(), sealed),
            restatements: orders.clone(),
            operations: OperationsService::new(operations),
            clock: clock.clone(),
            ready: Arc::new(AlwaysReady),
        };
        let (_, admin) = keys.create(Scope::Admin).await.unwrap();
        Self {
            store,
            gate,
            clock,
            catalog,
            keys,
            seals,
            orders,
            delays,
            router: router(services.clone(), config),
            services,
            admin,
            _dir: dir,
        }
    }

    /// A key of this scope.
    pub(crate) async fn key(&self, scope: Scope) -> String {
        self.keys.create(scope).await.unwrap().1
    }

    /// A key of this advertiser.
    pub(crate) async fn advertiser(&self, id: u64, read_only: bool) -> String {
        let advertiser_id = AdvertiserId(id);
        self.key(Scope::Advertiser {
            advertiser_id,
            read_only,
        })
        .await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    /// A request with the administrator's key.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(request(method, path, Some(&self.admin), body)).await
    }

    /// An ad of this advertiser in campaign `advertiser + 1000`; its id.
    pub(crate) async fn ad(&self, advertiser: u64) -> String {
        let body = json!({
            "advertiser_id": advertiser.to_string(),
            "campaign_id": (advertiser + 1000).to_string(),
            "redirect_url": format!("https://shop-{advertiser}.example/offer?a=1"),
            "title": "An offer",
        });
        let answer = self.ask("POST", "/v1/ads", Some(body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()["ad_id"].as_str().unwrap().to_owned()
    }

    /// A slot with these ads; its placement's id.
    pub(crate) async fn slot(&self, slot: &str, ads: &[&str]) -> String {
        let entries: Vec<Value> = ads.iter().map(|ad| json!({ "ad_id": ad })).collect();
        let path = format!("/v1/placements/{slot}");
        let answer = self.ask("PUT", &path, Some(json!({ "entries": entries }))).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()["placement_id"].as_str().unwrap().to_owned()
    }

    /// An impression token of the slot's ad.
    pub(crate) async fn token(&self, slot: &str) -> String {
        let shown = self.send(get(&format!("/v1/placements/{slot}"))).await;
        assert_eq!(shown.status, StatusCode::OK, "{}", shown.text());
        shown.json()["impression_token"].as_str().unwrap().to_owned()
    }

    /// Everything on the stream, in the order of click ids.
    pub(crate) async fn recorded(&self) -> Vec<ClickRecord> {
        let stream = self.store.stream();
        let mut records = Vec::new();
        for shard in stream.shards().await.unwrap() {
            let mut after = None;
            loop {
                let batch = stream.read(&shard.id, after, 10_000).await.unwrap();
                let Some(last) = batch.last() else { break };
                after = Some(last.sequence_number);
                records.extend(
                    batch
                        .iter()
                        .map(|record| serde_json::from_slice::<ClickRecord>(&record.data).unwrap()),
                );
            }
        }
        records.sort_by_key(|record| record.click_id);
        records
    }

    /// The verdicts of everything on the stream, in the order of clicks.
    pub(crate) async fn verdicts(&self) -> Vec<&'static str> {
        self.recorded()
            .await
            .iter()
            .map(|record| record.verdict.as_str())
            .collect()
    }

    /// Counts what is on the stream.
    pub(crate) async fn count(&self) {
        let ports = AggregatePorts {
            claims: Arc::new(self.store.claims()),
            buckets: Arc::new(self.store.buckets()),
            lanes: Arc::new(self.store.lanes()),
            shards: Arc::new(self.store.stream()),
            quarantine: Arc::new(self.store.quarantine()),
            seals: Arc::new(self.store.seals()),
            catalog: self.catalog.clone(),
            clock: self.clock.clone(),
        };
        let aggregate = Aggregate::new(ports, AggregateConfig::default(), Mutation::default());
        let timed = Timed::new(Arc::new(aggregate), self.delays.clone(), self.clock.clone());
        let pump = Pump::new(Arc::new(self.store.stream()), Arc::new(timed), 1000);
        let stream = self.store.stream();
        for shard in stream.shards().await.unwrap() {
            while pump.shard(&shard).await.unwrap().more {}
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks that it is a problem document of this status and kind, and gives it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let document = self.json();
        assert_eq!(document["type"], format!("/problems/{kind}"), "{document}");
        assert_eq!(document["status"], status);
        for member in ["title", "detail", "request_id"] {
            assert!(
                document[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member} in {document}"
            );
        }
        assert!(!self.text().contains("inner life"), "{document}");
        document
    }

    /// The same, with an error of this parameter.
    #[track_caller]
    pub(crate) fn problem_with(&self, status: u16, kind: &str, parameter: &str) -> Value {
        let document = self.problem(status, kind);
        let errors = document["errors"].as_array().cloned().unwrap_or_default();
        assert!(
            errors.iter().any(|error| error["parameter"] == parameter),
            "{parameter} in {document}"
        );
        document
    }
}

/// A request as a browser would send it.
pub(crate) fn request(method: &str, path: &str, key: Option<&str>, body: Option<Value>) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::USER_AGENT, FIREFOX)
        .header(header::HOST, "clicks.example")
        .extension(ConnectInfo(SocketAddr::from(([198, 51, 100, 77], 50_000))));
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    match body {
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    }
    .unwrap()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    request("GET", path, None, None)
}

/// The same with another header.
pub(crate) fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().append(
        name,
        axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
    );
    request
}
