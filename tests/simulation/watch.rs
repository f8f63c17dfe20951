//! Watches every flip of a manifest as it happens: no hour may be sealed from an incomplete lake, and no valid click may be
//! counted twice at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use clickledger_core::domain::counter::Counters;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::manifest::{DayManifest, Manifest};
use clickledger_core::domain::ruling::RulingKind;
use clickledger_core::domain::time::{Day, Hour, Minute};
use clickledger_core::ports::{Manifests, PortResult};
use clickledger_testkit::memory::{MemoryBuckets, MemoryLakeReader, MemorySeals, MemoryStream};

use crate::matching::{Spot, matched, own};
use crate::schedule::LATE_AFTER_MS;
use crate::sealing::Ground;
use crate::truth::durable;
use crate::world::lock;

#[derive(Clone)]
pub(crate) struct Watch {
    stream: MemoryStream,
    lake: MemoryLakeReader,
    buckets: MemoryBuckets,
    seals: MemorySeals,
    wrong: Arc<Mutex<Vec<String>>>,
    /// Hours with a click that nobody made.
    damaged: Arc<Mutex<BTreeSet<Hour>>>,
}

impl Watch {
    pub(crate) fn new(ground: &Ground, lake: MemoryLakeReader) -> Self {
        Self {
            stream: ground.stream.clone(),
            lake,
            buckets: ground.buckets.clone(),
            seals: ground.seals.clone(),
            wrong: Arc::default(),
            damaged: Arc::default(),
        }
    }

    pub(crate) fn wrong(&self) -> Vec<String> {
        lock(&self.wrong).clone()
    }

    pub(crate) fn damaged(&self, hour: Hour) {
        lock(&self.damaged).insert(hour);
    }

    pub(crate) fn damages(&self) -> BTreeSet<Hour> {
        lock(&self.damaged).clone()
    }

    /// What readers see: sealed items where there are some, else partials.
    pub(crate) fn visible(&self) -> BTreeMap<BucketKey, Counters> {
        let manifests = self.seals.all_manifests();
        let version = |hour: Hour| {
            let found = manifests.iter().find(|manifest| manifest.hour == hour);
            found.map_or(0, |manifest| manifest.version)
        };
        let mut visible: BTreeMap<BucketKey, Counters> = self.buckets.sums();
        visible.retain(|key, counters| version(key.minute.hour()) == 0 && !counters.is_empty());
        for item in self.seals.all_sealed_hours() {
            if item.version == version(item.hour) {
                for (place, counters) in &item.minutes {
                    let key = BucketKey {
                        entity: item.entity,
                        minute: item.minute(*place),
                    };
                    visible.insert(key, counters.clone());
                }
            }
        }
        visible
    }

    fn look(&self, new: &Manifest) {
        let shards = self.stream.all_shards().into_iter();
        let everything: Vec<_> = shards
            .map(|shard| (shard.clone(), self.stream.all_records(&shard)))
            .collect();
        let (clicks, _) = durable(&everything);
        let delivered = self.lake.all_clicks();
        let on_time = clicks.iter().filter(|(_, click)| {
            let record = &click.record;
            let copies = click.copies.iter();
            Hour::of(record.clicked_at_ms) == new.hour
                && copies
                    .map(|copy| copy.arrived_at_ms - record.clicked_at_ms)
                    .any(|age_ms| age_ms <= LATE_AFTER_MS)
        });
        let on_time: Vec<_> = on_time.map(|(click_id, _)| *click_id).collect();
        let missing = on_time
            .iter()
            .filter(|click_id| !delivered.contains_key(click_id))
            .count();
        if missing > 0 || new.lake.clicks < on_time.len() as u64 {
            lock(&self.wrong).push(format!(
                "hour {} sealed from an incomplete lake: {missing} of {} clicks are not there, {} were counted",
                new.hour.0,
                on_time.len(),
                new.lake.clicks
            ));
        }
        // While a daily run puts an orphan back that came meanwhile, another run may be faster with its heir.
        let rulings = self.seals.all_rulings();
        let mut displaced = rulings
            .iter()
            .filter(|ruling| ruling.kind == RulingKind::DisplacedBy);
        let returned = displaced.any(|ruling| delivered.contains_key(&ruling.click_id));
        if self.damages().is_empty() && !returned {
            let over = matched(&valid(&self.visible()), &own(&clicks)).over;
            if !over.is_empty() {
                lock(&self.wrong).push(format!(
                    "after hour {} was flipped more valid clicks than impressions are seen in {over:?}",
                    new.hour.0
                ));
            }
        }
    }
}

/// Valid clicks of ads by minute and cell.
pub(crate) fn valid(counted: &BTreeMap<BucketKey, Counters>) -> BTreeMap<Spot, u64> {
    let mut valid = BTreeMap::new();
    for (key, counters) in counted {
        let BucketKey {
            entity: Entity::Ad(ad_id),
            minute: Minute(minute),
        } = key
        else {
            continue;
        };
        for (counter, count) in counters.iter().filter(|(counter, _)| counter.is_valid()) {
            valid.insert((*ad_id, Minute(*minute), counter), count);
        }
    }
    valid
}

#[async_trait]
impl Manifests for Watch {
    async fn hours(&self, from: Hour, to: Hour) -> PortResult<Vec<Manifest>> {
        self.seals.hours(from, to).await
    }

    async fn days(&self, from: Day, to: Day) -> PortResult<Vec<DayManifest>> {
        self.seals.days(from, to).await
    }

    async fn flip(&self, new: &Manifest) -> PortResult<bool> {
        let flipped = self.seals.flip(new).await?;
        if flipped && new.version > 0 {
            self.look(new);
        }
        Ok(flipped)
    }

    async fn flip_day(&self, day: Day, generation: u64, version: u64) -> PortResult<bool> {
        self.seals.flip_day(day, generation, version).await
    }
}
