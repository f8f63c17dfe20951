//! The proof that the lake is complete for a time.
//!
//! Invariant: the answer is yes only if every record that arrived in that time, on any shard, lies in the lake. It rests on
//! this: a delivered object is no shorter in time than `longest_gap_ms`, so that it holds an acknowledged heartbeat where these
//! are no further apart. What came while they were, and what lies behind a closed shard's last one, is looked for click by click.

mod gap;
mod tail;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::bucket::ShardId;
use crate::domain::heartbeat::Beat;
use crate::domain::ids::HeartbeatId;
use crate::domain::mutation::{Broken, Mutation};
use crate::domain::time::Hour;
use crate::ports::{BeatenShard, Clock, HeartbeatLog, LakeReader, LaneLog, PortResult, Shard, ShardReader};
use crate::service::pump::LAKE;

/// Whether the lake is complete.
#[async_trait]
pub trait LakeProof: Send + Sync {
    /// `None` if everything that arrived in `from_ms..to_ms` lies in the lake; else what it waits for, in words.
    async fn missing(&self, from_ms: i64, to_ms: i64) -> PortResult<Option<String>>;
}

/// Where the pump delivers to the lake: its position is the proof.
pub struct PositionProof {
    shards: Arc<dyn ShardReader>,
    clock: Arc<dyn Clock>,
}

impl PositionProof {
    /// Of the pump's consumer [`LAKE`].
    pub fn new(shards: Arc<dyn ShardReader>, clock: Arc<dyn Clock>) -> Self {
        Self { shards, clock }
    }
}

#[async_trait]
impl LakeProof for PositionProof {
    async fn missing(&self, _from_ms: i64, to_ms: i64) -> PortResult<Option<String>> {
        if self.clock.now_ms() < to_ms {
            return Ok(Some("its time is not over".to_owned()));
        }
        for shard in self.shards.shards().await? {
            let position = self.shards.position(LAKE, &shard.id).await?;
            let next = self.shards.read(&shard.id, position.done, 1).await?;
            // Arrival times of a shard are close to monotonic: what they may go back is in the caller's slack.
            if next.iter().any(|record| record.arrived_at_ms < to_ms) {
                return Ok(Some(format!("shard {} is not delivered so far", shard.id)));
            }
        }
        Ok(None)
    }
}

/// The ports of [`HeartbeatProof`].
#[derive(Clone)]
pub struct HeartbeatProofPorts {
    /// Which shards there are, and what they still hold.
    pub shards: Arc<dyn ShardReader>,
    /// Which heartbeats were acknowledged.
    pub log: Arc<dyn HeartbeatLog>,
    /// What shards have absorbed.
    pub lanes: Arc<dyn LaneLog>,
    /// What came through.
    pub lake: Arc<dyn LakeReader>,
    /// Nothing is sought in the future.
    pub clock: Arc<dyn Clock>,
}

/// Where a delivery service carries the stream to the lake: its objects overtake each other, so every heartbeat must have
/// come through.
pub struct HeartbeatProof {
    ports: HeartbeatProofPorts,
    longest_gap_ms: i64,
    at_once: usize,
    mutation: Mutation,
}

/// What one shard asks of the lake.
#[derive(Default)]
struct Needed {
    beats: Vec<Beat>,
    gaps: Vec<gap::Gap>,
    tail: tail::Tail,
    missing: Option<String>,
}

impl HeartbeatProof {
    /// Over these ports, with so many calls at once. `longest_gap_ms`: how far apart heartbeats may be for each delivered object
    /// to hold one, which is the time that an object is gathered.
    pub fn new(ports: HeartbeatProofPorts, longest_gap_ms: i64, at_once: usize, mutation: Mutation) -> Self {
        Self {
            ports,
            longest_gap_ms,
            at_once,
            mutation,
        }
    }

    /// Every shard that is or was: as the stream lists it now, and as it was known.
    async fn shards(&self) -> PortResult<Vec<(Shard, bool)>> {
        let listed = self.ports.shards.shards().await?;
        let known = self.ports.log.known().await?;
        let mut all: Vec<(Shard, bool)> = Vec::with_capacity(listed.len());
        for mut shard in listed {
            if let Some(known) = known.iter().find(|known| known.shard == shard.id) {
                shard.parents.clone_from(&known.parents);
            }
            all.push((shard, true));
        }
        for BeatenShard { shard: id, parents } in known {
            if !all.iter().any(|(shard, _)| shard.id == id) {
                let closed = true;
                all.push((Shard { id, parents, closed }, false));
            }
        }
        Ok(all)
    }

    /// Whether the shard was born after `to_ms`: then one of its parents took a heartbeat that was sent later than that.
    async fn is_younger(&self, shard: &Shard, to_ms: i64) -> PortResult<bool> {
        for parent in &shard.parents {
            let last = self.ports.log.last(parent).await?;
            if self.mutation.is(Broken::ChildrenUnproved) || last.is_some_and(|last| last.sent_at_ms >= to_ms)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn needed(&self, shard: &Shard, listed: bool, time: Range<i64>) -> PortResult<Needed> {
        if self.is_younger(shard, time.end).await? {
            return Ok(Needed::default());
        }
        let mut beats = self.ports.log.around(&shard.id, time.start, time.end).await?;
        if beats.last().is_some_and(|last| last.sent_at_ms >= time.end) {
            let gaps = self.gaps(shard, listed, &beats, time.start);
            if self.mutation.is(Broken::ProofByLastHeartbeat) {
                beats.drain(..beats.len() - 1);
            }
            return Ok(Needed {
                beats,
                gaps,
                ..Needed::default()
            });
        }
        if !shard.closed {
            return Ok(Needed {
                missing: Some(format!("shard {} has had no heartbeat since", shard.id)),
                ..Needed::default()
            });
        }
        // With none in that time, all of it lies in the tail.
        if beats
            .last()
            .is_none_or(|last| last.acknowledged_at_ms <= time.start)
        {
            beats.clear();
        }
        let gaps = self.gaps(shard, listed, &beats, time.start);
        let tail = if self.mutation.is(Broken::ClosedShardUnproved) {
            tail::Tail::default()
        } else {
            self.tail(&shard.id, listed, time.start).await?
        };
        Ok(Needed {
            beats,
            gaps,
            tail,
            missing: None,
        })
    }

    /// The first heartbeat that has not come through.
    async fn unseen(&self, beats: &[Beat]) -> PortResult<Option<ShardId>> {
        let sent = beats.iter().map(|beat| beat.sent_at_ms).min();
        let acknowledged = beats.iter().map(|beat| beat.acknowledged_at_ms).max();
        let (Some(from_ms), Some(to_ms)) = (sent, acknowledged) else {
            return Ok(None);
        };
        let arrivals = self.partitions(from_ms, to_ms);
        let seen: HashSet<HeartbeatId> = self.ports.lake.heartbeats(arrivals).await?;
        let unseen = beats.iter().find(|beat| !seen.contains(&beat.id));
        Ok(unseen.map(|beat| beat.shard.clone()))
    }

    /// Where records of this time may lie, up to now.
    fn partitions(&self, from_ms: i64, to_ms: i64) -> Range<Hour> {
        let now = Hour::of(self.ports.clock.now_ms());
        Hour(Hour::of(from_ms).0 - 1)..Hour((Hour::of(to_ms).0 + 2).min(now.0 + 2))
    }
}

#[async_trait]
impl LakeProof for HeartbeatProof {
    async fn missing(&self, from_ms: i64, to_ms: i64) -> PortResult<Option<String>> {
        let now_ms = self.ports.clock.now_ms();
        if now_ms < to_ms {
            return Ok(Some("its time is not over".to_owned()));
        }
        let shards = self.shards().await?;
        let calls: Vec<_> = shards
            .iter()
            .map(|(shard, listed)| self.needed(shard, *listed, from_ms..to_ms))
            .collect();
        let (mut beats, mut gaps, mut tail) = (Vec::new(), Vec::new(), tail::Tail::default());
        for needed in super::each(calls, self.at_once).await? {
            if needed.missing.is_some() {
                return Ok(needed.missing);
            }
            beats.extend(needed.beats);
            gaps.extend(needed.gaps);
            tail.extend(needed.tail);
        }
        if let Some(shard) = self.unseen(&beats).await? {
            return Ok(Some(format!("a heartbeat of shard {shard} has not come through")));
        }
        if !self.all_present(&tail).await? {
            return Ok(Some("the end of a closed shard has not come through".to_owned()));
        }
        let undelivered = self
            .ports
            .lake
            .undelivered(self.partitions(from_ms, to_ms))
            .await?;
        if undelivered > 0 {
            return Ok(Some("objects lie in the error prefix".to_owned()));
        }
        // Last, since it may take long: one after another, as little as possible.
        for gap in &gaps {
            if !self.is_delivered(gap, from_ms..to_ms).await? {
                let shard = &gap.shard;
                return Ok(Some(format!(
                    "what shard {shard} took while no heartbeat was acknowledged has not come through"
                )));
            }
        }
        Ok(None)
    }
}
