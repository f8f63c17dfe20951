use clickledger_core::domain::api_key::{PresentedKey, Scope};
use clickledger_core::domain::claim_life::ClaimLife;
use clickledger_lambda::http::{HttpEvent, answer};
use clickledger_testkit::memory::{MemoryCatalog, MemoryKeys, MemoryTokenKeys};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_testkit::virtual_time::VirtualTime;
use serde_json::{Value, json};

use super::*;

/// An administrator makes an ad.
const CREATE: &str = include_str!("../../../../tests/fixtures/http_create_ad.json");

#[test]
fn an_ad_is_made_by_whoever_has_a_key() {
    let time = VirtualTime::new(1_767_312_000_000);
    let (clock, rng) = (Arc::new(time.clone()), Arc::new(SimRng::new(7)));
    let catalog = Arc::new(MemoryCatalog::default());
    let tokens = MemoryTokenKeys::new(rng.clone());
    let ring = Arc::new(time.block_on(KeyRing::load(Arc::new(tokens))).unwrap());
    let keys = KeysService::new(Arc::new(MemoryKeys::default()), clock.clone(), rng.clone());
    let key = PresentedKey::generate([1; 9], [2; 32]);
    time.block_on(keys.insert(&key, Scope::Admin)).unwrap();
    let router = router(
        AdsService::new(catalog.clone(), clock.clone(), rng.clone()),
        PlacementsService::new(catalog.clone(), clock.clone(), rng.clone()),
        ImpressionsService::new(catalog, ring, clock, rng, ClaimLife::default().token_ms),
        keys,
        EdgeConfig::default(),
    );
    let status = |authorization: &str| {
        let mut event: Value = serde_json::from_str(CREATE).unwrap();
        event["headers"]["authorization"] = json!(authorization);
        let event: HttpEvent = serde_json::from_value(event).unwrap();
        let answer = time.block_on(answer(router.clone(), event));
        serde_json::to_value(answer).unwrap()["statusCode"].clone()
    };
    assert_eq!(status(&format!("Bearer {}", key.reveal())), 201);
    assert_eq!(status("Bearer nothing"), 401);
}
