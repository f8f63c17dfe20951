//! What must be stored, worked out from what was made and from when the stream took it.
//!
//! Invariant: of what the function stored only the claims' owners are asked, where two clicks want one impression: any one of
//! them is right, as long as it is one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clickledger_core::domain::counter::CounterKey;
use clickledger_core::domain::ids::{ClickId, ImpressionId};
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::StreamRecord;

use crate::traffic::{Kind, LATE_AFTER_MS, Made, Traffic};

/// Counters by name.
pub(crate) type Counts = BTreeMap<String, u64>;
/// Counters of each entity and minute.
pub(crate) type Buckets = BTreeMap<(String, i64), Counts>;
/// Shard and sequence number.
pub(crate) type Place = (String, String);

/// What must be stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) buckets: Buckets,
    /// Hours that sealing must be told of.
    pub(crate) dirty: BTreeSet<i64>,
    /// What can never be counted.
    pub(crate) quarantined: BTreeSet<Place>,
    /// What is wrong already.
    pub(crate) wrong: Vec<String>,
}

/// Works the truth out of all that the stream holds.
pub(crate) fn truth(
    traffic: &Traffic,
    stream: &[(String, Vec<StreamRecord>)],
    owners: &HashMap<ImpressionId, ClickId>,
) -> Truth {
    let mut truth = Truth::default();
    let put: usize = traffic.waves.iter().map(Vec::len).sum();
    let held: usize = stream.iter().map(|(_, records)| records.len()).sum();
    if put != held {
        truth
            .wrong
            .push(format!("{put} records were put, the stream holds {held}"));
    }
    let mut arrivals: BTreeMap<ClickId, (&Made, Vec<i64>)> = BTreeMap::new();
    for (shard, records) in stream {
        for record in records {
            match traffic.clicks.get(&record.data) {
                Some(made) => {
                    let entry = arrivals.entry(made.record.click_id);
                    entry.or_insert((made, Vec::new())).1.push(record.arrived_at_ms);
                }
                None => {
                    let place = (shard.clone(), record.sequence_number.to_string());
                    truth.quarantined.insert(place);
                }
            }
        }
    }
    // Who may own an impression: whoever claimed it before, or else any unclaimed click that came on time.
    let mut may_own: HashMap<ImpressionId, Vec<ClickId>> = HashMap::new();
    for (click_id, (made, arrivals)) in &arrivals {
        let record = &made.record;
        let late = |arrived_ms: &i64| arrived_ms - record.clicked_at_ms > LATE_AFTER_MS;
        if arrivals.iter().any(late) {
            truth.dirty.insert(Hour::of(record.clicked_at_ms).0);
        }
        if arrivals.iter().all(late) {
            continue;
        }
        let owner = record.impression_id.and_then(|id| owners.get(&id));
        let verdict = match made.kind {
            Kind::AsJudged => record.verdict,
            Kind::Unclaimed if owner == Some(click_id) => Verdict::Valid,
            Kind::Unclaimed => Verdict::Duplicate,
        };
        if let (Kind::Unclaimed, Some(impression_id)) = (made.kind, record.impression_id) {
            may_own.entry(impression_id).or_default().push(*click_id);
        }
        let counter = CounterKey::of(verdict, record.device, record.country).to_string();
        let mut entities = vec![
            format!("a#{}", record.ad_id),
            format!("c#{}", record.campaign_id),
            format!("v#{}", record.advertiser_id),
            "t".to_owned(),
        ];
        entities.extend(record.placement_id.map(|id| format!("p#{id}")));
        for entity in entities {
            let key = (entity, Minute::of(record.clicked_at_ms).0);
            let bucket = truth.buckets.entry(key).or_default();
            *bucket.entry(counter.clone()).or_default() += 1;
        }
    }
    for claim in &traffic.claims {
        may_own.insert(claim.impression_id, vec![claim.click_id]);
    }
    for (impression_id, clicks) in &may_own {
        if !owners
            .get(impression_id)
            .is_some_and(|owner| clicks.contains(owner))
        {
            let owner = owners.get(impression_id);
            truth.wrong.push(format!(
                "impression {impression_id} is owned by {owner:?}, not by one of {clicks:?}"
            ));
        }
    }
    for impression_id in owners.keys().filter(|id| !may_own.contains_key(id)) {
        truth.wrong.push(format!(
            "impression {impression_id} is claimed, and nobody was to claim it"
        ));
    }
    truth
}

/// Where what is stored differs from what must be, in words.
pub(crate) fn difference(stored: &Buckets, must: &Buckets) -> Vec<String> {
    let keys: BTreeSet<_> = stored.keys().chain(must.keys()).collect();
    keys.into_iter()
        .filter(|key| stored.get(key) != must.get(key))
        .map(|key| {
            format!(
                "{} in minute {}: counted {:?}, must be {:?}",
                key.0,
                key.1,
                stored.get(key),
                must.get(key)
            )
        })
        .collect()
}
