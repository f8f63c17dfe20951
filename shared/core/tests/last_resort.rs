//! A record that neither stream nor spill takes goes to the last resort, where there is one.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::ports::{AdCatalog, ClickStream, Outgoing, PortError, PortResult, Spill, Spilled};
use clickledger_core::service::click::{
    ClickConfig, ClickOutcome, ClickPorts, ClickRequest, ClickService, LastResort, Recorded,
};
use clickledger_core::service::key_ring::KeyRing;
use clickledger_testkit::memory::{MemoryCatalog, MemoryClaims, MemorySpill, MemoryTokenKeys};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_testkit::virtual_time::VirtualTime;

struct Down;

#[async_trait]
impl ClickStream for Down {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        records
            .iter()
            .map(|_| Err(PortError::unavailable("down")))
            .collect()
    }
}

#[async_trait]
impl Spill for Down {
    async fn keep(&self, _record: Outgoing) -> PortResult<()> {
        Err(PortError::unavailable("down"))
    }
    async fn receive(&self, _limit: usize, _now_ms: i64, _hidden_ms: u64) -> PortResult<Vec<Spilled>> {
        Err(PortError::unavailable("down"))
    }
    async fn settled(&self, _receipt: &str) -> PortResult<()> {
        Err(PortError::unavailable("down"))
    }
}

#[derive(Default)]
struct Place {
    full: bool,
    kept: Mutex<Vec<Outgoing>>,
}

impl LastResort for Place {
    fn keep(&self, record: &Outgoing) -> PortResult<()> {
        if self.full {
            return Err(PortError::unavailable("full"));
        }
        self.kept.lock().unwrap().push(record.clone());
        Ok(())
    }
}

fn clicked(spill: Arc<dyn Spill>, last_resort: Option<Arc<Place>>) -> Recorded {
    let time = VirtualTime::new(1_767_312_000_000);
    let rng = SimRng::new(7);
    let catalog = MemoryCatalog::default();
    let ad = Ad {
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
    };
    time.block_on(catalog.create_ad(&ad)).unwrap();
    let keys = MemoryTokenKeys::new(Arc::new(rng.fork()));
    let keys = time.block_on(KeyRing::load(Arc::new(keys))).unwrap();
    let ports = ClickPorts {
        catalog: Arc::new(catalog),
        claims: Arc::new(MemoryClaims::default()),
        stream: Arc::new(Down),
        spill,
        clock: Arc::new(time.clone()),
        entropy: Arc::new(rng),
    };
    let mut service = ClickService::new(ports, Arc::new(keys), ClickConfig::default(), Mutation::default());
    if let Some(place) = last_resort {
        service = service.with_last_resort(place);
    }
    let request = ClickRequest {
        ad_id: AdId(7),
        token: None,
        user_agent: None,
        client: None,
        country: Country::ZZ,
        prefetch: false,
        private: false,
        referrer: None,
    };
    match time.block_on(service.click(&request)).unwrap() {
        ClickOutcome::Redirect { recorded, .. } => recorded,
        ClickOutcome::UnknownAd => unreachable!("the ad was just made"),
    }
}

#[test]
fn what_stream_and_spill_refuse_goes_to_the_last_resort() {
    let place = Arc::new(Place::default());
    assert_eq!(
        clicked(Arc::new(Down), Some(Arc::clone(&place))),
        Recorded::LastResort
    );
    let kept = place.kept.lock().unwrap();
    assert_eq!(kept.len(), 1);
    let record: serde_json::Value = serde_json::from_slice(&kept[0].data).unwrap();
    assert_eq!(record["partition_key"], kept[0].partition_key);
}

#[test]
fn what_the_spill_takes_does_not() {
    let place = Arc::new(Place::default());
    let spill = Arc::new(MemorySpill::default());
    assert_eq!(clicked(spill, Some(Arc::clone(&place))), Recorded::Spill);
    assert_eq!(place.kept.lock().unwrap().len(), 0);
}

#[test]
fn a_click_that_no_place_took_is_recorded_nowhere() {
    assert_eq!(clicked(Arc::new(Down), None), Recorded::Nowhere);
    let full = Arc::new(Place {
        full: true,
        ..Place::default()
    });
    assert_eq!(clicked(Arc::new(Down), Some(full)), Recorded::Nowhere);
}
