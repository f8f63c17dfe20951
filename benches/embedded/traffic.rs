//! The traffic, and the store that it goes to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clickledger_core::domain::bucket::{Condition, PartialWrite, ShardId};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::time::Minute;
use clickledger_core::ports::Clock;
use clickledger_embedded::{Embedded, OpenOptions};
use clickledger_testkit::fixtures::ClickMaker;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// 2026-01-02T00:00:00Z.
pub(crate) const START_MS: i64 = 1_767_312_000_000;
pub(crate) const ADS: usize = 10_000;
pub(crate) const SHARDS: usize = 2;

/// The store's time: set, not read from the machine.
pub(crate) struct SetClock(pub(crate) AtomicI64);

#[async_trait]
impl Clock for SetClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

pub(crate) fn open(dir: &Path) -> (Embedded, Arc<SetClock>) {
    let clock = Arc::new(SetClock(AtomicI64::new(START_MS)));
    let options = OpenOptions {
        shards: SHARDS as u32,
        clock: clock.clone(),
        ..OpenOptions::default()
    };
    (Embedded::open(dir, options).unwrap(), clock)
}

pub(crate) fn shards() -> Vec<ShardId> {
    (0..SHARDS)
        .map(|shard| format!("shardId-{shard:012}").into())
        .collect()
}

/// Clicks on ads by Zipf 1.1.
pub(crate) struct Clicks {
    maker: ClickMaker,
    pub(crate) random: StdRng,
    /// For each ad, the share of all clicks up to it.
    up_to: Vec<f64>,
}

impl Clicks {
    pub(crate) fn new(seed: u64, per_second: f64) -> Self {
        let mut sum = 0.0;
        let up_to = (1..=ADS).map(|rank| {
            sum += (rank as f64).powf(-1.1);
            sum
        });
        Self {
            up_to: up_to.collect(),
            maker: ClickMaker::new(seed, ADS as u64, START_MS, per_second),
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub(crate) fn click(&mut self) -> ClickRecord {
        let share = self.random.random::<f64>() * self.up_to[ADS - 1];
        let ad = 1 + self.up_to.partition_point(|up_to| *up_to < share) as u64;
        let mut click = self.maker.record();
        // An ad is one shard's, as long as it is not hot.
        click.partition_key = format!("{ad}#0");
        (click.ad_id, click.campaign_id, click.advertiser_id) =
            (AdId(ad), CampaignId(ad / 10), AdvertiserId(ad / 100));
        click.placement_id = Some(PlacementId(ad % 50));
        click
    }
}

/// What `count` clicks add to partials, folded as `aggregate` folds a sub-batch; sequence numbers go on from `next`.
pub(crate) fn fold(
    made: &mut Clicks,
    count: usize,
    next: &mut u64,
    shard: &ShardId,
) -> (i64, Vec<PartialWrite>) {
    let mut groups: BTreeMap<(Minute, String), (BucketKey, Counters)> = BTreeMap::new();
    let (first, mut now_ms) = (*next, 0);
    for _ in 0..count {
        let click = made.click();
        now_ms = click.clicked_at_ms;
        let minute = Minute::of(now_ms);
        let counter = CounterKey::of(click.verdict, click.device, click.country);
        let placement = click.placement_id.map(Entity::Placement);
        let entities = [
            Entity::Ad(click.ad_id),
            Entity::Campaign(click.campaign_id),
            Entity::Advertiser(click.advertiser_id),
            Entity::Total,
        ];
        for entity in entities.into_iter().chain(placement) {
            let key = BucketKey { entity, minute };
            let group = groups.entry((minute, entity.to_string()));
            group
                .or_insert_with(|| (key, Counters::default()))
                .1
                .add(counter, 1);
        }
    }
    *next += count as u64;
    let writes = groups.into_values().map(|(key, delta)| PartialWrite {
        key,
        shard: Arc::clone(shard),
        condition: Condition::Below(first.into()),
        last: (*next - 1).into(),
        delta,
    });
    (now_ms, writes.collect())
}
