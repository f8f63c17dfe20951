use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::ports::AdCatalog;
use clickledger_core::service::click::{ClickConfig, ClickPorts};
use clickledger_lambda::http::{HttpEvent, answer};
use clickledger_testkit::memory::{
    MemoryCatalog, MemoryClaims, MemorySpill, MemoryStream, MemoryTokenKeys, StreamOptions,
};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_testkit::virtual_time::VirtualTime;
use serde_json::{Value, json};

use super::*;

/// A browser follows the link of ad 7, without an impression.
const CLICK: &str = include_str!("../../../../tests/fixtures/http_click.json");

/// The answer to the event, changed like this, and the records on the stream.
fn clicked(change: impl FnOnce(&mut Value)) -> (Value, Vec<Value>) {
    let time = VirtualTime::new(1_767_312_000_000);
    let (clock, rng) = (Arc::new(time.clone()), Arc::new(SimRng::new(7)));
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
    let tokens = MemoryTokenKeys::new(rng.clone());
    let keys = Arc::new(time.block_on(KeyRing::load(Arc::new(tokens))).unwrap());
    let stream = MemoryStream::new(clock.clone(), StreamOptions::plain(1));
    let ports = ClickPorts {
        catalog: Arc::new(catalog),
        claims: Arc::new(MemoryClaims::default()),
        stream: Arc::new(stream.clone()),
        spill: Arc::new(MemorySpill::default()),
        clock,
        entropy: rng,
    };
    let click = ClickService::new(ports, keys, ClickConfig::default(), Mutation::default());
    let router = router(Arc::new(click), EdgeConfig::default());
    let mut event: Value = serde_json::from_str(CLICK).unwrap();
    change(&mut event);
    let event: HttpEvent = serde_json::from_value(event).unwrap();
    let answer = serde_json::to_value(time.block_on(answer(router, event))).unwrap();
    let shard = stream.all_shards().remove(0);
    let records = stream.all_records(&shard).into_iter();
    let records = records.map(|record| serde_json::from_slice(&record.data).unwrap());
    (answer, records.collect())
}

#[test]
fn a_click_is_recorded_and_led_to_the_ads_url() {
    let (answer, records) = clicked(|_| {});
    assert_eq!(answer["statusCode"], 302);
    assert_eq!(answer["headers"]["location"], "https://shop.example/");
    assert_eq!(answer["headers"].get("clickledger-recorded"), None);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["verdict"], "missing_token");
    assert_eq!(
        records[0]["network"], "192.0.2.0/24",
        "of the event's source address"
    );
}

#[test]
fn the_other_methods_of_the_route_count_nothing() {
    let (answer, records) = clicked(|event| event["requestContext"]["http"]["method"] = json!("HEAD"));
    assert_eq!((answer["statusCode"].clone(), records.len()), (json!(302), 0));
    let (answer, records) = clicked(|event| event["requestContext"]["http"]["method"] = json!("DELETE"));
    assert_eq!((answer["statusCode"].clone(), records.len()), (json!(405), 0));
}

#[test]
fn an_unknown_ad_is_a_problem_document() {
    let (answer, records) = clicked(|event| event["rawQueryString"] = json!("adId=8"));
    assert_eq!((answer["statusCode"].clone(), records.len()), (json!(404), 0));
    assert_eq!(answer["headers"]["content-type"], "application/problem+json");
}
