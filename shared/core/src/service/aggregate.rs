//! Aggregate: folds a shard's batch into partials, exactly once (DESIGN section 4, points 4 to 6).
//!
//! Invariant: within a sub-batch the order is: drop repeats, claim for the unclaimed, fold, commit every partial, and only
//! then log, and log only what is below the lowest failure. Nothing is worked after a failure.

mod fold;
mod seen;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use self::fold::{Absorbed, Groups};
use self::seen::SeenIds;
use crate::domain::bucket::{Committed, ShardId};
use crate::domain::claim_life::ClaimLife;
use crate::domain::lane::LaneItem;
use crate::domain::mutation::{Broken, Mutation};
use crate::domain::record::CountedClick;
use crate::domain::sequence::SequenceNumber;
use crate::domain::time::Hour;
use crate::domain::verdict::Verdict;
use crate::ports::{
    BucketStore, Claim, ClaimStore, Claimed, Clock, LaneLog, PortResult, Quarantine, Quarantined, SealStore,
    ShardReader,
};

/// One record of a batch, its data still as it came.
#[derive(Debug, Clone, Copy)]
pub struct BatchRecord<'a> {
    /// Its place in the shard; strictly rising within a batch.
    pub sequence_number: SequenceNumber,
    /// When the stream took it, Unix milliseconds.
    pub arrived_at_ms: i64,
    /// The record's line.
    pub data: &'a [u8],
}

/// The ports of [`Aggregate`].
#[derive(Clone)]
pub struct AggregatePorts {
    /// For clicks that came unclaimed.
    pub claims: Arc<dyn ClaimStore>,
    /// Where partials are committed.
    pub buckets: Arc<dyn BucketStore>,
    /// What shards have absorbed.
    pub lanes: Arc<dyn LaneLog>,
    /// Which shards a shard came from.
    pub shards: Arc<dyn ShardReader>,
    /// For what can never be counted.
    pub quarantine: Arc<dyn Quarantine>,
    /// For hours that sealing must count.
    pub seals: Arc<dyn SealStore>,
    /// Decides which claims have expired.
    pub clock: Arc<dyn Clock>,
}

/// The numbers of [`Aggregate`].
#[derive(Debug, Clone, Copy)]
pub struct AggregateConfig {
    /// L: a record that arrives more than this after its click is late, milliseconds.
    pub late_after_ms: i64,
    /// By how much more than L the lane log reaches back, milliseconds.
    pub slack_ms: i64,
    /// Records of one sub-batch.
    pub sub_batch: usize,
    /// Most counters of one write (DynamoDB's expression holds 300 operators).
    pub counters_per_write: usize,
    /// Lifetimes of tokens and claims.
    pub life: ClaimLife,
    /// More records per second than this of one ad on a shard double the ad's fan-out.
    pub hot_ad_per_s: u32,
}

impl Default for AggregateConfig {
    fn default() -> Self {
        Self {
            late_after_ms: 5 * 60_000,
            slack_ms: 60_000,
            sub_batch: 2000,
            counters_per_write: 150,
            life: ClaimLife::default(),
            hot_ad_per_s: 400,
        }
    }
}

/// What an environment knows of a shard's log.
struct Known {
    last: Option<SequenceNumber>,
    seen: SeenIds,
}

/// Folds batches into partials. One batch of a shard at a time.
pub struct Aggregate {
    ports: AggregatePorts,
    config: AggregateConfig,
    mutation: Mutation,
    known: Mutex<HashMap<ShardId, Known>>,
}

impl Aggregate {
    /// An environment that knows nothing yet.
    pub fn new(ports: AggregatePorts, config: AggregateConfig, mutation: Mutation) -> Self {
        Self {
            ports,
            config,
            mutation,
            known: Mutex::new(HashMap::new()),
        }
    }

    /// Works a batch of one shard, in order. Answers the lowest sequence number that could not be finished: the batch is
    /// to be delivered again from there; `None` when all of it is done.
    pub async fn run(&self, shard: &ShardId, batch: &[BatchRecord<'_>]) -> Option<SequenceNumber> {
        let first = batch.first()?;
        let since_ms = first.arrived_at_ms - self.config.late_after_ms - self.config.slack_ms;
        // Taken out while the batch is worked: if this run is dropped half way, the next one begins cold.
        let warm = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(shard);
        let mut known = match self.read_log(shard, warm, since_ms).await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(%shard, %error, "the lane log could not be read");
                return Some(first.sequence_number);
            }
        };
        let mut failed = None;
        for sub_batch in batch.chunks(self.config.sub_batch.max(1)) {
            failed = self.sub_batch(shard, sub_batch, &mut known).await;
            if failed.is_some() {
                break;
            }
        }
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard.clone(), known);
        failed
    }

    /// Brings what is known up to date: warm, only the items after the last known; cold, the window of the shard and of
    /// all its ancestors.
    async fn read_log(&self, shard: &ShardId, warm: Option<Known>, since_ms: i64) -> PortResult<Known> {
        let mut known = match warm {
            Some(known) => known,
            None => {
                let mut seen = SeenIds::default();
                let shards = self.ports.shards.shards().await?;
                let parents = |id: &ShardId| {
                    shards
                        .iter()
                        .find(|s| s.id == *id)
                        .map(|s| s.parents.clone())
                        .unwrap_or_default()
                };
                let (mut ancestors, mut next) = (parents(shard), 0);
                while let Some(ancestor) = ancestors.get(next).cloned() {
                    next += 1;
                    for older in parents(&ancestor) {
                        if !ancestors.contains(&older) {
                            ancestors.push(older);
                        }
                    }
                    for item in self.ports.lanes.read(&ancestor, None, since_ms).await? {
                        seen.extend(&item.ids, item.last_arrival_ms);
                    }
                }
                Known { last: None, seen }
            }
        };
        for item in self.ports.lanes.read(shard, known.last, since_ms).await? {
            known.seen.extend(&item.ids, item.last_arrival_ms);
            known.last = known.last.max(Some(item.last));
        }
        known.seen.forget_before(since_ms);
        Ok(known)
    }

    async fn sub_batch(
        &self,
        shard: &ShardId,
        batch: &[BatchRecord<'_>],
        known: &mut Known,
    ) -> Option<SequenceNumber> {
        let mut absorbed: Vec<Absorbed> = Vec::with_capacity(batch.len());
        let mut new = SeenIds::default();
        let mut failed = None;
        for record in batch {
            match self.judge(shard, record, &known.seen, &new).await {
                Ok(judged) => {
                    if let Absorbed::Counted { click, .. } = &judged {
                        new.extend(&[click.click_id], record.arrived_at_ms);
                    }
                    absorbed.push(judged);
                }
                Err(error) => {
                    tracing::warn!(%shard, sequence_number = %record.sequence_number, %error, "a record could not be worked");
                    failed = Some(record.sequence_number);
                    break;
                }
            }
        }
        let mut groups = Groups::fold(batch, &absorbed);
        failed = lowest(failed, self.commit(shard, batch, &mut groups).await);
        let done = batch
            .iter()
            .zip(&absorbed)
            .take_while(|(r, _)| failed.is_none_or(|f| r.sequence_number < f));
        let mut item = LaneItem {
            last: SequenceNumber::ZERO,
            first_arrival_ms: i64::MAX,
            last_arrival_ms: i64::MIN,
            ids: Vec::new(),
            late_ids: Vec::new(),
        };
        for (record, judged) in done {
            item.last = record.sequence_number;
            item.first_arrival_ms = item.first_arrival_ms.min(record.arrived_at_ms);
            item.last_arrival_ms = item.last_arrival_ms.max(record.arrived_at_ms);
            match judged {
                Absorbed::Counted { click, .. } => item.ids.push(click.click_id),
                Absorbed::Late(click) => item.late_ids.push(click.click_id),
                Absorbed::Quarantined => {}
            }
        }
        if item.last == SequenceNumber::ZERO {
            return failed;
        }
        let (last, ids, arrival) = (item.last, item.ids.clone(), item.last_arrival_ms);
        if let Err(error) = self.ports.lanes.append(shard, item).await {
            tracing::warn!(%shard, %error, "the lane log could not be written");
            return batch.first().map(|record| record.sequence_number);
        }
        known.seen.extend(&ids, arrival);
        known.last = known.last.max(Some(last));
        failed
    }

    /// What becomes of one record; an error holds the batch up from here.
    async fn judge(
        &self,
        shard: &ShardId,
        record: &BatchRecord<'_>,
        known: &SeenIds,
        new: &SeenIds,
    ) -> PortResult<Absorbed> {
        let click = match CountedClick::parse(record.data) {
            Ok(click) => click,
            Err(error) => {
                if !self.mutation.is(Broken::QuarantineForgets) {
                    let item = Quarantined {
                        shard: shard.clone(),
                        sequence_number: record.sequence_number,
                        arrived_at_ms: record.arrived_at_ms,
                        reason: error.to_string(),
                        bytes: record.data.to_vec(),
                    };
                    self.ports.quarantine.keep(item).await?;
                }
                return Ok(Absorbed::Quarantined);
            }
        };
        // Late is judged for each copy.
        if record.arrived_at_ms - click.clicked_at_ms > self.config.late_after_ms {
            self.ports
                .seals
                .mark_dirty(&[Hour::of(click.clicked_at_ms)])
                .await?;
            return Ok(Absorbed::Late(click));
        }
        if known.contains(click.click_id) || new.contains(click.click_id) {
            return Ok(Absorbed::Counted { click, verdict: None });
        }
        let verdict = match (click.verdict, click.claimed, click.impression_id) {
            (Verdict::Valid, false, Some(impression_id)) => {
                let now_ms = self.ports.clock.now_ms();
                let life = self.config.life;
                let expires_ms = life.expires_ms(impression_id, click.clicked_at_ms, now_ms, self.mutation);
                let claim = Claim {
                    impression_id,
                    click_id: click.click_id,
                    expires_ms,
                };
                match self.ports.claims.claim(claim, now_ms).await? {
                    Claimed::First => Verdict::Valid,
                    Claimed::DuplicateOf(_) => Verdict::Duplicate,
                }
            }
            (verdict, ..) => verdict,
        };
        Ok(Absorbed::Counted {
            click,
            verdict: Some(verdict),
        })
    }

    /// Commits every group, its pieces in order up to the first that fails; answers the lowest sequence number not written.
    async fn commit(
        &self,
        shard: &ShardId,
        batch: &[BatchRecord<'_>],
        groups: &mut Groups,
    ) -> Option<SequenceNumber> {
        let mut failed = None;
        loop {
            let (pieces, writes) = groups.next_writes(shard, batch, self.config.counters_per_write);
            if writes.is_empty() {
                return failed;
            }
            let outcomes = self.ports.buckets.commit(writes.clone()).await;
            for ((piece, write), outcome) in pieces.into_iter().zip(&writes).zip(outcomes) {
                match outcome {
                    Ok(Committed::Applied) => groups.applied(piece),
                    Ok(Committed::Stale(Some(watermark))) => groups.stale(piece, batch, watermark),
                    Ok(Committed::Stale(None)) => {
                        // The partial vanished between two writes: nobody may do that; try the whole again.
                        failed = lowest(failed, groups.give_up(piece, batch));
                    }
                    Err(error) if error.is_retryable() => {
                        tracing::warn!(%shard, entity = %write.key.entity, %error, "a partial could not be written");
                        failed = lowest(failed, groups.give_up(piece, batch));
                    }
                    Err(error) => {
                        let item = Quarantined {
                            shard: shard.clone(),
                            sequence_number: piece.first(batch),
                            arrived_at_ms: self.ports.clock.now_ms(),
                            reason: error.to_string(),
                            bytes: format!("{write:?}").into_bytes(),
                        };
                        let kept = self.ports.quarantine.keep(item).await;
                        let marked = self.ports.seals.mark_dirty(&[write.key.minute.hour()]).await;
                        if kept.is_ok() && marked.is_ok() {
                            groups.applied(piece);
                        } else {
                            failed = lowest(failed, groups.give_up(piece, batch));
                        }
                    }
                }
            }
        }
    }
}

fn lowest(a: Option<SequenceNumber>, b: Option<SequenceNumber>) -> Option<SequenceNumber> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
