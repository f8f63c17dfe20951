//! Aggregate: folds a shard's batch into partials, exactly once (DESIGN section 4, points 4 to 6).
//!
//! Invariant: within a sub-batch the order is: drop repeats, claim for the unclaimed, fold, commit every partial, and only
//! then log, and log only what is below the lowest failure. Nothing is worked after a failure.

mod fold;
mod hot_ads;
mod judge;
mod known;
mod seen;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use self::fold::{Groups, Piece};
use self::judge::Judged;
use self::known::Known;
use crate::domain::bucket::{Committed, ShardId};
use crate::domain::claim_life::ClaimLife;
use crate::domain::lane::LaneItem;
use crate::domain::mutation::{Broken, Mutation};
use crate::domain::sequence::SequenceNumber;
use crate::ports::{
    AdCatalog, BucketStore, ClaimStore, Clock, LaneLog, PortError, PortResult, Quarantine, Quarantined,
    SealStore, ShardReader,
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
    /// Where a hot ad's fan-out is doubled.
    pub catalog: Arc<dyn AdCatalog>,
    /// Decides which claims have expired, and when the deadline has come.
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
    /// to be delivered again from there; `None` when all of it is done. From `deadline_ms` on (Unix milliseconds) no
    /// further sub-batch is begun, and the rest is handed back.
    pub async fn run(
        &self,
        shard: &ShardId,
        batch: &[BatchRecord<'_>],
        deadline_ms: Option<i64>,
    ) -> Option<SequenceNumber> {
        let first = batch.first()?;
        // Taken out while the batch is worked: if this run is dropped half way, the next one begins cold.
        let warm = self.lock().remove(shard);
        let read = Known::read(
            warm,
            shard,
            first.arrived_at_ms,
            &self.ports,
            &self.config,
            self.mutation,
        );
        let mut known = match read.await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(%shard, %error, "the lane log could not be read");
                return Some(first.sequence_number);
            }
        };
        let mut failed = None;
        for sub_batch in batch.chunks(self.config.sub_batch.max(1)) {
            if deadline_ms.is_some_and(|deadline_ms| self.ports.clock.now_ms() >= deadline_ms) {
                failed = lowest(failed, Some(sub_batch[0].sequence_number));
                break;
            }
            failed = lowest(failed, self.sub_batch(shard, sub_batch, &mut known).await);
            if failed.is_some() && !self.mutation.is(Broken::GoesOnAfterFailure) {
                break;
            }
        }
        self.lock().insert(shard.clone(), known);
        failed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ShardId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sub_batch(
        &self,
        shard: &ShardId,
        batch: &[BatchRecord<'_>],
        known: &mut Known,
    ) -> Option<SequenceNumber> {
        let judged = self.judge(shard, batch, known).await;
        let mut groups = Groups::fold(&judged.counted, self.mutation);
        let arrivals_ms = (batch[0].arrived_at_ms, batch[batch.len() - 1].arrived_at_ms);
        let hot = known
            .meter
            .take(groups.ads(), arrivals_ms, self.config.hot_ad_per_s);

        let mut failed = judged.failed;
        if self.mutation.is(Broken::LogBeforeCommit) {
            failed = self.log(shard, batch, &judged, known, failed).await;
        }
        failed = lowest(failed, self.commit(shard, batch, &mut groups).await);
        failed = self.log(shard, batch, &judged, known, failed).await;

        for ad_id in hot {
            match hot_ads::double(&*self.ports.catalog, &*self.ports.shards, ad_id).await {
                Ok(true) => tracing::info!(%ad_id, %shard, "a hot ad's fan-out was doubled"),
                Ok(false) => {}
                // It is tried again as long as the ad stays hot.
                Err(error) => tracing::warn!(%ad_id, %error, "a hot ad's fan-out could not be doubled"),
            }
        }
        failed
    }

    /// Logs what is below the lowest failure; answers the lowest failure then. What could not be finished or logged is no
    /// longer known.
    async fn log(
        &self,
        shard: &ShardId,
        batch: &[BatchRecord<'_>],
        judged: &Judged,
        known: &mut Known,
        failed: Option<SequenceNumber>,
    ) -> Option<SequenceNumber> {
        let whole = self.mutation.is(Broken::LogAboveFailure);
        let done = match failed {
            Some(failed) if !whole => batch.partition_point(|record| record.sequence_number < failed),
            _ => batch.len(),
        };
        let is_done = |place: u32| (place as usize) < done;
        let mut logged = Ok(());
        if let Some(last) = done.checked_sub(1).map(|last| &batch[last]) {
            let arrivals = batch[..done].iter().map(|record| record.arrived_at_ms);
            let counted = judged.counted.iter().filter(|counted| is_done(counted.place));
            let late = judged.late.iter().filter(|(place, _)| is_done(*place));
            let mut item = LaneItem {
                last: last.sequence_number,
                first_arrival_ms: arrivals.clone().min().unwrap_or(last.arrived_at_ms),
                last_arrival_ms: arrivals.max().unwrap_or(last.arrived_at_ms),
                ids: counted.map(|counted| self.repeat_id(&counted.click)).collect(),
                late_ids: late.map(|(_, id)| *id).collect(),
            };
            if self.mutation.is(Broken::LateEntersLog) {
                item.ids.extend(&item.late_ids);
            }
            logged = self.ports.lanes.append(shard, item).await;
            if logged.is_ok() {
                known.last = known.last.max(Some(last.sequence_number));
            }
        }
        for (place, id) in &judged.added {
            if logged.is_err() || !is_done(*place) {
                known.seen.remove(*id);
            }
        }
        match logged {
            Ok(()) => failed,
            Err(error) => {
                tracing::warn!(%shard, %error, "the lane log could not be written");
                batch.first().map(|record| record.sequence_number)
            }
        }
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
            let most = self.config.counters_per_write;
            let (pieces, writes) = groups.next_writes(shard, batch, most, self.mutation);
            if writes.is_empty() {
                return failed;
            }
            let outcomes = self.ports.buckets.commit(writes).await;
            // An adapter that answers less than it was asked has failed the rest.
            let outcomes = outcomes
                .into_iter()
                .map(Some)
                .chain(std::iter::repeat_with(|| None));
            for (piece, outcome) in pieces.into_iter().zip(outcomes) {
                let given_up = match outcome {
                    Some(Ok(Committed::Applied)) => {
                        groups.applied(piece);
                        continue;
                    }
                    Some(Ok(Committed::Stale(Some(watermark)))) => {
                        groups.stale(piece, batch, watermark);
                        continue;
                    }
                    Some(Err(error)) if !error.is_retryable() => {
                        if self.give_to_quarantine(shard, batch, groups, piece, &error).await {
                            groups.applied(piece);
                            continue;
                        }
                        error.to_string()
                    }
                    Some(Err(error)) => error.to_string(),
                    // Nobody may delete a partial; the whole is tried again.
                    Some(Ok(Committed::Stale(None))) => "the partial vanished between two writes".to_owned(),
                    None => "no outcome".to_owned(),
                };
                tracing::warn!(%shard, entity = %groups.key(piece).entity, error = given_up, "a partial could not be written");
                failed = lowest(failed, groups.give_up(piece, batch, self.mutation));
            }
        }
    }

    /// A delta that can never be written is kept with its reason, and its hour is sealing's to count.
    async fn give_to_quarantine(
        &self,
        shard: &ShardId,
        batch: &[BatchRecord<'_>],
        groups: &Groups,
        piece: Piece,
        error: &PortError,
    ) -> bool {
        let item = Quarantined {
            shard: shard.clone(),
            sequence_number: groups.first(piece, batch),
            arrived_at_ms: self.ports.clock.now_ms(),
            reason: error.to_string(),
            bytes: groups.describe(piece, batch).into_bytes(),
        };
        let hour = groups.key(piece).minute.hour();
        let kept: PortResult<()> = async {
            self.ports.quarantine.keep(item).await?;
            self.ports.seals.mark_quarantined(hour).await
        }
        .await;
        kept.is_ok()
    }
}

fn lowest(a: Option<SequenceNumber>, b: Option<SequenceNumber>) -> Option<SequenceNumber> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
