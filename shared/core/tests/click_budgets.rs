//! However slow its ports are, a click is answered within a second; an ad that comes late takes from the claim's time only.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clickledger_core::domain::ad::{Ad, AdStatus, Placement, RedirectUrl};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ImpressionId, PlacementId, SlotName};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::token::Impression;
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{
    AdCatalog, AdFilter, AdvertiserAds, CampaignAds, Changed, Claim, ClaimStore, Claimed, ClickStream, Clock,
    Outgoing, PortError, PortResult, Spill, Spilled,
};
use clickledger_core::service::click::{
    ClickConfig, ClickOutcome, ClickPorts, ClickRequest, ClickService, Recorded,
};
use clickledger_core::service::key_ring::KeyRing;
use clickledger_testkit::memory::{MemoryClaims, MemorySpill, MemoryTokenKeys};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_testkit::virtual_time::VirtualTime;

const NOW_MS: i64 = 1_767_312_000_000;
/// Longer than anybody waits.
const NEVER_MS: u64 = 60_000;

/// A port that answers so late.
struct Late<P> {
    port: P,
    after_ms: u64,
    time: VirtualTime,
    asked: AtomicU64,
}

impl<P> Late<P> {
    fn new(port: P, after_ms: u64, time: &VirtualTime) -> Arc<Self> {
        Arc::new(Self {
            port,
            after_ms,
            time: time.clone(),
            asked: AtomicU64::new(0),
        })
    }

    async fn wait(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.time.sleep(self.after_ms).await;
    }
}

fn not_asked<T>() -> PortResult<T> {
    Err(PortError::rejected("no click asks this"))
}

#[async_trait]
impl AdCatalog for Late<Arc<Ad>> {
    async fn ad(&self, _ad_id: AdId) -> PortResult<Option<Arc<Ad>>> {
        self.wait().await;
        Ok(Some(Arc::clone(&self.port)))
    }
    async fn create_ad(&self, _ad: &Ad) -> PortResult<Changed> {
        not_asked()
    }
    async fn update_ad(&self, _ad: &Ad, _expected: u64) -> PortResult<Changed> {
        not_asked()
    }
    async fn list_ads(&self, _filter: AdFilter, _after: Option<AdId>, _limit: usize) -> PortResult<Vec<Ad>> {
        not_asked()
    }
    async fn list_advertisers(
        &self,
        _after: Option<AdvertiserId>,
        _limit: usize,
    ) -> PortResult<Vec<AdvertiserAds>> {
        not_asked()
    }
    async fn list_campaigns(
        &self,
        _of: Option<AdvertiserId>,
        _after: Option<CampaignId>,
        _limit: usize,
    ) -> PortResult<Vec<CampaignAds>> {
        not_asked()
    }
    async fn raise_fan_out(&self, _ad_id: AdId, _from: u32, _to: u32) -> PortResult<bool> {
        not_asked()
    }
    async fn placement(&self, _slot: &SlotName) -> PortResult<Option<Arc<Placement>>> {
        not_asked()
    }
    async fn placement_by_id(&self, _placement_id: PlacementId) -> PortResult<Option<Arc<Placement>>> {
        not_asked()
    }
    async fn put_placement(&self, _placement: &Placement, _expected: Option<u64>) -> PortResult<Changed> {
        not_asked()
    }
    async fn list_placements(&self, _after: Option<&SlotName>, _limit: usize) -> PortResult<Vec<Placement>> {
        not_asked()
    }
}

#[async_trait]
impl ClaimStore for Late<MemoryClaims> {
    async fn claim(&self, claim: Claim, now_ms: i64) -> PortResult<Claimed> {
        self.wait().await;
        self.port.claim(claim, now_ms).await
    }
    async fn purge(&self, _now_ms: i64, _limit: usize) -> PortResult<usize> {
        not_asked()
    }
}

/// A stream that answers late, and then refuses.
#[async_trait]
impl ClickStream for Late<()> {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        self.wait().await;
        records
            .iter()
            .map(|_| Err(PortError::unavailable("down")))
            .collect()
    }
}

#[async_trait]
impl Spill for Late<MemorySpill> {
    async fn keep(&self, record: Outgoing) -> PortResult<()> {
        self.wait().await;
        self.port.keep(record).await
    }
    async fn receive(&self, _limit: usize, _now_ms: i64, _hidden_ms: u64) -> PortResult<Vec<Spilled>> {
        not_asked()
    }
    async fn settled(&self, _receipt: &str) -> PortResult<()> {
        not_asked()
    }
}

struct Done {
    outcome: PortResult<ClickOutcome>,
    took_ms: i64,
    spilled: Vec<ClickRecord>,
    claims_asked: u64,
}

impl Done {
    fn recorded(&self) -> Recorded {
        match &self.outcome {
            Ok(ClickOutcome::Redirect { recorded, .. }) => *recorded,
            other => unreachable!("{other:?}"),
        }
    }
}

/// A good click where catalogue, claims, stream and spill answer after these milliseconds.
fn click(catalog_ms: u64, claims_ms: u64, stream_ms: u64, spill_ms: u64) -> Done {
    let time = VirtualTime::new(NOW_MS);
    let rng = SimRng::new(7);
    let ad = Arc::new(Ad {
        ad_id: AdId(7),
        campaign_id: CampaignId(12),
        advertiser_id: AdvertiserId(9),
        redirect_url: RedirectUrl::parse("https://shop.example/").unwrap(),
        title: None,
        image_url: None,
        status: AdStatus::Active,
        fan_out: 1,
        version: 1,
        created_ms: 5,
    });
    let keys = MemoryTokenKeys::new(Arc::new(rng.fork()));
    let keys = Arc::new(time.block_on(KeyRing::load(Arc::new(keys))).unwrap());
    let token = keys.keys().ring.issue(&Impression {
        impression_id: ImpressionId::new(NOW_MS - 900, [3; 10]),
        ad_id: AdId(7),
        placement_id: PlacementId(5),
        issued_at_s: u32::try_from(NOW_MS / 1000).unwrap() - 1,
    });
    let claims = Late::new(MemoryClaims::default(), claims_ms, &time);
    let spill = Late::new(MemorySpill::default(), spill_ms, &time);
    let ports = ClickPorts {
        catalog: Late::new(ad, catalog_ms, &time),
        claims: claims.clone(),
        stream: Late::new((), stream_ms, &time),
        spill: spill.clone(),
        clock: Arc::new(time.clone()),
        entropy: Arc::new(rng),
    };
    let service = ClickService::new(ports, keys, ClickConfig::default(), Mutation::default());
    let request = ClickRequest {
        ad_id: AdId(7),
        token: Some(&token),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        client: None,
        country: Country::ZZ,
        prefetch: false,
        private: false,
        referrer: None,
    };
    let outcome = time.block_on(service.click(&request));
    let spilled = spill.port.records();
    Done {
        outcome,
        took_ms: time.now_ms() - NOW_MS,
        spilled: spilled
            .iter()
            .map(|record| serde_json::from_slice(&record.data).unwrap())
            .collect(),
        claims_asked: claims.asked.load(Ordering::Relaxed),
    }
}

#[test]
fn whatever_is_slow_a_click_ends_within_a_second() {
    let times = [0, 120, 240, 390, NEVER_MS];
    for catalog_ms in times {
        for claims_ms in times {
            for stream_ms in times {
                for spill_ms in [0, 190, NEVER_MS] {
                    let done = click(catalog_ms, claims_ms, stream_ms, spill_ms);
                    let slow = (catalog_ms, claims_ms, stream_ms, spill_ms);
                    assert!(done.took_ms <= 950, "{slow:?}: {} ms", done.took_ms);
                    assert_eq!(done.outcome.is_ok(), catalog_ms < 400, "{slow:?}");
                    if done.outcome.is_ok() {
                        let kept = spill_ms < 200;
                        assert_eq!(done.recorded() == Recorded::Spill, kept, "{slow:?}");
                        assert_eq!(done.spilled.len(), usize::from(kept), "{slow:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_ad_that_comes_late_leaves_its_click_unclaimed_and_valid() {
    let in_time = click(140, 240, 0, 0);
    assert!(in_time.spilled[0].claimed);
    assert_eq!(in_time.claims_asked, 1);
    for (catalog_ms, claims_ms) in [(390, 20), (399, 5), (200, 210)] {
        let late = click(catalog_ms, claims_ms, 0, 0);
        let record = &late.spilled[0];
        assert_eq!((record.claimed, record.verdict), (false, Verdict::Valid));
        assert_eq!(late.recorded(), Recorded::Spill);
    }
}
