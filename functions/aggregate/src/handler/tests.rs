use std::sync::Arc;

use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::AdId;
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::service::aggregate::{AggregateConfig, AggregatePorts};
use clickledger_testkit::memory::{
    MemoryBuckets, MemoryCatalog, MemoryClaims, MemoryLanes, MemoryQuarantine, MemorySeals, MemoryStream,
    StreamOptions,
};
use clickledger_testkit::virtual_time::VirtualTime;
use serde_json::value::RawValue;

use super::*;
use crate::counted::Counted;

/// Three clicks on ad 73001, and a record that is no click.
const EVENT: &str = include_str!("../../../../tests/fixtures/kinesis_event.json");
const NOW_MS: i64 = 1_767_312_001_000;

struct World {
    time: VirtualTime,
    buckets: MemoryBuckets,
    quarantine: MemoryQuarantine,
    ports: AggregatePorts,
}

impl World {
    fn new() -> Self {
        let time = VirtualTime::new(NOW_MS);
        let (buckets, quarantine) = (MemoryBuckets::default(), MemoryQuarantine::default());
        let ports = AggregatePorts {
            claims: Arc::new(MemoryClaims::default()),
            buckets: Arc::new(buckets.clone()),
            lanes: Arc::new(MemoryLanes::default()),
            shards: Arc::new(MemoryStream::new(Arc::new(time.clone()), StreamOptions::plain(1))),
            quarantine: Arc::new(Counted::new(quarantine.clone())),
            seals: Arc::new(MemorySeals::default()),
            catalog: Arc::new(MemoryCatalog::default()),
            clock: Arc::new(time.clone()),
        };
        Self {
            time,
            buckets,
            quarantine,
            ports,
        }
    }

    fn environment(&self) -> Aggregate {
        Aggregate::new(
            self.ports.clone(),
            AggregateConfig::default(),
            Mutation::default(),
        )
    }

    /// The answer's JSON.
    fn deliver(&self, to: &Aggregate, json: &str, deadline_ms: i64) -> Result<String, KinesisEventError> {
        let batch = Batch {
            json: RawValue::from_string(json.to_owned()).unwrap(),
            deadline_ms,
        };
        let answer = self.time.block_on(work(to, &self.time, &batch))?;
        Ok(serde_json::to_string(&answer).unwrap())
    }

    fn clicks_of_the_ad(&self) -> u64 {
        let sums = self.buckets.sums();
        let of_ad = sums
            .iter()
            .filter(|(key, _)| key.entity == Entity::Ad(AdId(73_001)));
        of_ad
            .flat_map(|(_, counters)| counters.iter())
            .map(|(_, n)| n)
            .sum()
    }
}

const ALL_DONE: &str = r#"{"batchItemFailures":[]}"#;

#[test]
fn an_event_is_counted_once_however_often_it_comes() {
    let world = World::new();
    let warm = world.environment();
    for environment in [&warm, &warm, &world.environment()] {
        let answer = world.deliver(environment, EVENT, NOW_MS + 60_000).unwrap();
        assert_eq!(answer, ALL_DONE);
        assert_eq!(world.clicks_of_the_ad(), 3);
    }
}

#[test]
fn what_is_no_click_is_put_away_and_holds_nobody_up() {
    let world = World::new();
    let answer = world
        .deliver(&world.environment(), EVENT, NOW_MS + 60_000)
        .unwrap();
    assert_eq!(answer, ALL_DONE);
    let kept = world.quarantine.items();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].bytes, b"{\"v\":1,\"what\":\"no click\"}\n");
}

#[test]
fn close_to_its_deadline_the_batch_is_handed_back_from_its_first_record() {
    let world = World::new();
    let answer = world
        .deliver(&world.environment(), EVENT, NOW_MS + MARGIN_MS)
        .unwrap();
    let event: serde_json::Value = serde_json::from_str(EVENT).unwrap();
    let first = event["Records"][0]["kinesis"]["sequenceNumber"].as_str().unwrap();
    assert_eq!(
        answer,
        format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{first}"}}]}}"#)
    );
    assert_eq!(world.clicks_of_the_ad(), 0);
}

#[test]
fn an_event_that_cannot_be_decoded_fails_as_a_whole() {
    let world = World::new();
    let json = EVENT.replacen("\"sequenceNumber\": \"4959", "\"sequenceNumber\": \"x4959", 3);
    let outcome = world.deliver(&world.environment(), &json, NOW_MS + 60_000);
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(world.clicks_of_the_ad(), 0);
}
