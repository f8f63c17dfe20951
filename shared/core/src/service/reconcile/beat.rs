//! Heartbeats: one on every open shard each minute.
//!
//! Invariant: only a heartbeat that was acknowledged is noted, each try has an id of its own, and a shard is known before its
//! first heartbeat: a copy of an unanswered try proves nothing.

use std::sync::Arc;

use crate::domain::bucket::ShardId;
use crate::domain::heartbeat::{Beat, Heartbeat};
use crate::domain::ids::HeartbeatId;
use crate::ports::{
    BeatenShard, Clock, Entropy, HeartbeatLog, Heartbeats, PortError, PortResult, ShardReader,
};

/// The ports of [`Beater`].
#[derive(Clone)]
pub struct BeatPorts {
    /// Which shards there are.
    pub shards: Arc<dyn ShardReader>,
    /// Where heartbeats are put.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// Where acknowledged ones are noted.
    pub log: Arc<dyn HeartbeatLog>,
    /// Dates them.
    pub clock: Arc<dyn Clock>,
    /// Names them.
    pub entropy: Arc<dyn Entropy>,
}

/// The numbers of [`Beater`].
#[derive(Debug, Clone, Copy)]
pub struct BeatConfig {
    /// How often a heartbeat is put again that was not acknowledged.
    pub tries: usize,
    /// How long is waited before that, milliseconds.
    pub pause_ms: u64,
    /// Shards at the same time.
    pub at_once: usize,
    /// How long acknowledged heartbeats are kept, milliseconds; longer than hours may wait to be proved.
    pub keep_ms: i64,
}

impl Default for BeatConfig {
    /// Five tries, 200 ms apart; 30 days.
    fn default() -> Self {
        Self {
            tries: 5,
            pause_ms: 200,
            at_once: 16,
            keep_ms: 30 * 24 * 3_600_000,
        }
    }
}

/// What one round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beaten {
    /// Shards whose heartbeat was acknowledged and noted.
    pub acknowledged: usize,
    /// Open shards without one: the next round is as good, only later.
    pub missed: usize,
}

/// Puts heartbeats on shards.
pub struct Beater {
    ports: BeatPorts,
    config: BeatConfig,
}

impl Beater {
    /// Over these ports.
    pub fn new(ports: BeatPorts, config: BeatConfig) -> Self {
        Self { ports, config }
    }

    /// One heartbeat on every open shard.
    ///
    /// # Errors
    /// Where the shards are not told or can't be noted.
    pub async fn round(&self) -> PortResult<Beaten> {
        let listed = self.ports.shards.shards().await?;
        let known = self.ports.log.known().await?;
        for shard in &listed {
            if !known.iter().any(|other| other.shard == shard.id) {
                let shard = BeatenShard {
                    shard: shard.id.clone(),
                    parents: shard.parents.clone(),
                };
                self.ports.log.know(&shard).await?;
            }
        }
        let open = listed.iter().filter(|shard| !shard.closed);
        let beats: Vec<_> = open.map(|shard| self.beat(&shard.id)).collect();
        let outcomes = super::each(beats, self.config.at_once).await?;
        let acknowledged = outcomes.iter().filter(|acknowledged| **acknowledged).count();
        Ok(Beaten {
            acknowledged,
            missed: outcomes.len() - acknowledged,
        })
    }

    /// Forgets heartbeats that no proof can need any more.
    ///
    /// # Errors
    /// Where their log does not answer.
    pub async fn forget(&self) -> PortResult<usize> {
        let before_ms = self.ports.clock.now_ms() - self.config.keep_ms;
        self.ports.log.expire(before_ms).await
    }

    async fn beat(&self, shard: &ShardId) -> PortResult<bool> {
        for tried in 0..self.config.tries.max(1) {
            if tried > 0 {
                self.ports.clock.sleep(self.config.pause_ms).await;
            }
            match self.put(shard).await {
                Ok(beat) => return Ok(self.note(&beat).await),
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%shard, %error, "a heartbeat was not acknowledged");
                }
                // Closed since it was listed.
                Err(_) => return Ok(false),
            }
        }
        tracing::warn!(%shard, "no heartbeat was acknowledged");
        Ok(false)
    }

    async fn put(&self, shard: &ShardId) -> PortResult<Beat> {
        let sent_at_ms = self.ports.clock.now_ms();
        let mut random = [0; 10];
        self.ports.entropy.fill(&mut random);
        let id = HeartbeatId::new(sent_at_ms, random);
        let line = Heartbeat::new(id, shard, sent_at_ms).to_line();
        let line = line.map_err(PortError::rejected)?;
        let sequence_number = self.ports.heartbeats.beat(shard, line).await?;
        Ok(Beat {
            id,
            shard: shard.clone(),
            sequence_number,
            sent_at_ms,
            acknowledged_at_ms: self.ports.clock.now_ms(),
        })
    }

    async fn note(&self, beat: &Beat) -> bool {
        for _ in 0..self.config.tries.max(1) {
            match self.ports.log.acknowledged(beat).await {
                Ok(()) => return true,
                Err(error) => tracing::debug!(shard = %beat.shard, %error, "a heartbeat could not be noted"),
            }
            self.ports.clock.sleep(self.config.pause_ms).await;
        }
        false
    }
}
