//! What is true: the counts that must come out, from what users did and what became durable, never from what the services
//! stored about it.
//!
//! Invariant: only the claims' first owner is asked of a store: which of two clicks on an impression is the valid one is for
//! the claim to say, and any answer that never changes is right.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::heartbeat::Heartbeat;
use clickledger_core::domain::ids::{ClickId, ImpressionId};
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::StreamRecord;

/// What a user's request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A genuine click: only the claim decides between valid and duplicate.
    Real,
    /// The browser fetched ahead.
    Prefetch,
    /// Its token is not ours.
    Forged,
}

/// One request, and what its user saw.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) impression_id: Option<ImpressionId>,
    pub(crate) at_ms: i64,
    /// The click's id, where a redirect said that it is recorded.
    pub(crate) acknowledged: Option<ClickId>,
}

/// One copy of a record on the stream.
pub(crate) struct Copy {
    pub(crate) shard: ShardId,
    pub(crate) sequence_number: SequenceNumber,
    pub(crate) arrived_at_ms: i64,
}

/// A click as the stream holds it.
pub(crate) struct Durable {
    pub(crate) record: ClickRecord,
    pub(crate) copies: Vec<Copy>,
}

/// The page that names a request: the record's referrer host brings it back.
pub(crate) fn page_of(request: usize) -> String {
    format!("https://r{request}.example/")
}

fn request_of(record: &ClickRecord) -> Option<usize> {
    let host = record.referrer_host.as_deref()?;
    host.strip_prefix('r')?.strip_suffix(".example")?.parse().ok()
}

/// Everything that ever was on the stream, by click; and what is no click at all.
pub(crate) fn durable(
    shards: &[(ShardId, Vec<StreamRecord>)],
) -> (BTreeMap<ClickId, Durable>, Vec<(ShardId, SequenceNumber)>) {
    let (mut clicks, mut garbage) = (BTreeMap::<ClickId, Durable>::new(), Vec::new());
    for (shard, records) in shards {
        for stored in records {
            let copy = Copy {
                shard: shard.clone(),
                sequence_number: stored.sequence_number,
                arrived_at_ms: stored.arrived_at_ms,
            };
            match serde_json::from_slice::<ClickRecord>(&stored.data) {
                Ok(record) => clicks
                    .entry(record.click_id)
                    .or_insert_with(|| Durable {
                        record,
                        copies: Vec::new(),
                    })
                    .copies
                    .push(copy),
                Err(_) if Heartbeat::parse(&stored.data).is_some() => {}
                Err(_) => garbage.push((copy.shard, copy.sequence_number)),
            }
        }
    }
    (clicks, garbage)
}

/// Whose counts a click goes to.
pub(crate) fn entities(record: &ClickRecord) -> impl Iterator<Item = Entity> + use<> {
    [
        Some(Entity::Ad(record.ad_id)),
        Some(Entity::Campaign(record.campaign_id)),
        Some(Entity::Advertiser(record.advertiser_id)),
        record.placement_id.map(Entity::Placement),
        Some(Entity::Total),
    ]
    .into_iter()
    .flatten()
}

/// Whose sealed counts a click goes to.
pub(crate) fn sealed_entities(record: &ClickRecord) -> impl Iterator<Item = Entity> + use<> {
    let advertiser = record.advertiser_id;
    let pair = record
        .placement_id
        .map(|placement| Entity::AdvertiserPlacement(advertiser, placement));
    entities(record).chain(pair)
}

/// The outcome that must be, live.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) live: BTreeMap<BucketKey, Counters>,
    /// Hours that sealing must be told of.
    pub(crate) dirty: BTreeSet<Hour>,
    /// What is wrong already.
    pub(crate) wrong: Vec<String>,
}

/// Works the truth out.
pub(crate) fn expected(
    requests: &[Request],
    clicks: &BTreeMap<ClickId, Durable>,
    owners: &HashMap<ImpressionId, ClickId>,
    late_after_ms: i64,
) -> Expected {
    let mut expected = Expected::default();
    let mut of_request: HashMap<usize, ClickId> = HashMap::new();
    for (click_id, durable) in clicks {
        let record = &durable.record;
        let Some((n, request)) = request_of(record).and_then(|n| Some((n, requests.get(n)?))) else {
            expected.wrong.push(format!("click {click_id} is of no request"));
            continue;
        };
        if let Some(other) = of_request.insert(n, *click_id) {
            expected
                .wrong
                .push(format!("request {n} became two clicks, {other} and {click_id}"));
        }
        if !(request.at_ms..=request.at_ms + 1000).contains(&record.clicked_at_ms) {
            expected.wrong.push(format!("click {click_id} is dated wrongly"));
        }
        let owner = request.impression_id.and_then(|id| owners.get(&id));
        if request.kind != Kind::Real && owner == Some(click_id) {
            expected.wrong.push(format!(
                "click {click_id}, a {:?}, took the impression",
                request.kind
            ));
        }
        let verdict = match request.kind {
            Kind::Real if owner == Some(click_id) => Verdict::Valid,
            Kind::Real => Verdict::Duplicate,
            Kind::Prefetch => Verdict::Prefetch,
            Kind::Forged => Verdict::BadToken,
        };
        let age_ms = |copy: &Copy| copy.arrived_at_ms - record.clicked_at_ms;
        if durable.copies.iter().any(|copy| age_ms(copy) > late_after_ms) {
            expected.dirty.insert(Hour::of(record.clicked_at_ms));
        }
        if durable.copies.iter().any(|copy| age_ms(copy) <= late_after_ms) {
            let counter = CounterKey::of(verdict, record.device, record.country);
            let minute = Minute::of(record.clicked_at_ms);
            for entity in entities(record) {
                let bucket = expected.live.entry(BucketKey { entity, minute }).or_default();
                bucket.add(counter, 1);
            }
        }
    }
    for (n, request) in requests.iter().enumerate() {
        if let Some(click_id) = request.acknowledged
            && of_request.get(&n) != Some(&click_id)
        {
            expected.wrong.push(format!(
                "request {n} was acknowledged as {click_id}, but is not on the stream"
            ));
        }
    }
    expected
}

/// Where two sets of buckets differ, in words.
pub(crate) fn difference(
    counted: &BTreeMap<BucketKey, Counters>,
    expected: &BTreeMap<BucketKey, Counters>,
) -> Vec<String> {
    let nothing = Counters::default();
    let keys: BTreeSet<&BucketKey> = counted.keys().chain(expected.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let (is, must) = (
                counted.get(key).unwrap_or(&nothing),
                expected.get(key).unwrap_or(&nothing),
            );
            (is != must).then(|| {
                format!(
                    "{} in minute {}: counted {is:?}, must be {must:?}",
                    key.entity, key.minute.0
                )
            })
        })
        .collect()
}
