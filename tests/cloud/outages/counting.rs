//! The stream given to `aggregate`, and its counts held against what was clicked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use clickledger_aws::Patience;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, ClickId};
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::time::Minute;
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{BucketStore, MinuteTotals, ShardReader, StreamRecord};
use clickledger_testkit::fixtures::{Delivered, kinesis_event};
use serde_json::json;

use crate::world::{World, answered, now_ms};

const TIME: Duration = Duration::from_secs(60);
/// Records of one batch: few, so that there are some.
const BATCH: usize = 7;

fn gross(minute: &MinuteTotals) -> u64 {
    minute.valid + minute.invalid.iter().sum::<u64>()
}

impl World {
    /// Every record of the stream, by shard, in order.
    pub(crate) fn stream(&self) -> Vec<(ShardId, StreamRecord)> {
        let shards = self.aws.shards(Patience::UNHURRIED).unwrap();
        self.wait(async {
            let mut all = Vec::new();
            for shard in shards.shards().await.unwrap() {
                let mut after = None;
                loop {
                    let records = shards.read(&shard.id, after, 1_000).await.unwrap();
                    let Some(last) = records.last() else { break };
                    after = Some(last.sequence_number);
                    all.extend(records.into_iter().map(|record| (shard.id.clone(), record)));
                }
            }
            all
        })
    }

    /// Gives the whole stream to `aggregate`, as an event source mapping does that begins at the horizon.
    pub(crate) fn count(&self) {
        let aggregate = self.start("aggregate");
        for same_shard in self.stream().chunk_by(|a, b| a.0 == b.0) {
            for batch in same_shard.chunks(BATCH) {
                let records: Vec<Delivered> = batch
                    .iter()
                    .map(|(_, record)| Delivered {
                        sequence_number: record.sequence_number.to_string(),
                        arrived_at_ms: record.arrived_at_ms,
                        partition_key: "any".to_owned(),
                        data: record.data.clone(),
                    })
                    .collect();
                let answer = answered(aggregate.invoke(kinesis_event(&batch[0].0, &records), TIME));
                assert_eq!(
                    answer,
                    json!({ "batchItemFailures": [] }),
                    "{:?}",
                    aggregate.lines()
                );
            }
        }
    }

    fn totals(&self, entity: Entity) -> Vec<MinuteTotals> {
        let buckets = self.aws.buckets(Patience::UNHURRIED).unwrap();
        let (from, to) = (Minute::of(now_ms() - 3_600_000), Minute::of(now_ms() + 60_000));
        self.wait(buckets.read_totals(entity, from, to)).unwrap()
    }

    /// An ad's clicks by the minute, of whatever verdict.
    pub(crate) fn counted(&self, ad: AdId) -> BTreeMap<Minute, u64> {
        let totals = self.totals(Entity::Ad(ad));
        totals
            .iter()
            .map(|minute| (minute.minute, gross(minute)))
            .collect()
    }

    /// Counts the stream, twice, and holds what was counted against what was clicked: every click once, in its minute; every
    /// impression valid once, and its other clicks duplicates.
    pub(crate) fn assert_counted(&self) {
        self.count();
        self.count();
        let stream = self.stream();
        let mut by_minute: HashMap<AdId, BTreeMap<Minute, u64>> = HashMap::new();
        let mut seen: HashSet<ClickId> = HashSet::new();
        for (_, record) in &stream {
            let click: ClickRecord = serde_json::from_slice(&record.data).unwrap();
            if seen.insert(click.click_id) {
                let minute = Minute::of(click.clicked_at_ms);
                *by_minute
                    .entry(click.ad_id)
                    .or_default()
                    .entry(minute)
                    .or_default() += 1;
            }
        }
        assert_eq!(seen.len() as u64, self.clicks(), "distinct clicks on the stream");
        let clicked = self.clicked.borrow();
        for (ad, (clicks, impressions)) in clicked.iter() {
            assert_eq!(Some(&self.counted(*ad)), by_minute.get(ad), "ad {ad}");
            let totals = self.totals(Entity::Ad(*ad));
            let valid: u64 = totals.iter().map(|minute| minute.valid).sum();
            let duplicates: u64 = totals
                .iter()
                .map(|minute| minute.invalid[Verdict::Duplicate as usize])
                .sum();
            assert_eq!(
                (valid, duplicates),
                (*impressions, clicks - impressions),
                "ad {ad}"
            );
        }
        let total: u64 = self.totals(Entity::Total).iter().map(gross).sum();
        assert_eq!(total, self.clicks());
        eprintln!(
            "{} clicks on {} ads: {} records on the stream, every click counted once",
            self.clicks(),
            clicked.len(),
            stream.len()
        );
    }
}
