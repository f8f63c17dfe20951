//! Maintenance: forgets what nobody can need any more. Lane-log items, claims, records of the stream.
//!
//! Invariant: a lane-log item goes only when no record still to come on any shard can be a copy of what it lists: judged by
//! the arrival times of what the slowest shard has still to work, never by a clock alone, and never before the record of
//! it lies in the lake.

use std::sync::Arc;

use crate::ports::{ClaimStore, Clock, LaneLog, PortResult, ShardReader};
use crate::service::pump::{AGGREGATE, LAKE};

/// The ports of [`Maintenance`].
#[derive(Clone)]
pub struct MaintenancePorts {
    /// The stream.
    pub shards: Arc<dyn ShardReader>,
    /// The lane logs.
    pub lanes: Arc<dyn LaneLog>,
    /// The claims.
    pub claims: Arc<dyn ClaimStore>,
    /// By which claims and records grow old.
    pub clock: Arc<dyn Clock>,
}

/// The numbers of [`Maintenance`].
#[derive(Debug, Clone, Copy)]
pub struct MaintenanceConfig {
    /// L and slack, as [`AggregateConfig`](super::aggregate::AggregateConfig) has them, milliseconds in all.
    pub window_ms: i64,
    /// By how much arrival times of a shard may go back, milliseconds.
    pub jitter_ms: i64,
    /// How long the stream keeps records, milliseconds.
    pub stream_ms: i64,
    /// Most claims, and most records, that one round forgets: others write at the same time.
    pub step: usize,
}

impl Default for MaintenanceConfig {
    /// Six minutes, 10 s, 7 days.
    fn default() -> Self {
        Self {
            window_ms: 6 * 60_000,
            jitter_ms: 10_000,
            stream_ms: 7 * 24 * 3_600_000,
            step: 2000,
        }
    }
}

/// What one round forgot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Items of lane logs.
    pub lane_items: usize,
    /// Claims.
    pub claims: usize,
    /// Records of the stream.
    pub records: usize,
}

/// Forgets what nobody needs.
pub struct Maintenance {
    ports: MaintenancePorts,
    config: MaintenanceConfig,
}

impl Maintenance {
    /// Over these ports.
    pub fn new(ports: MaintenancePorts, config: MaintenanceConfig) -> Self {
        Self { ports, config }
    }

    /// One round.
    ///
    /// # Errors
    /// Where a store does not answer; what was forgotten by then is forgotten.
    pub async fn round(&self) -> PortResult<Forgotten> {
        let now_ms = self.ports.clock.now_ms();
        Ok(Forgotten {
            lane_items: self.lanes(now_ms).await?,
            claims: self.ports.claims.purge(now_ms, self.config.step).await?,
            records: {
                let before_ms = now_ms - self.config.stream_ms;
                let consumers = [AGGREGATE, LAKE];
                self.ports
                    .shards
                    .trim(&consumers, before_ms, self.config.step)
                    .await?
            },
        })
    }

    async fn lanes(&self, now_ms: i64) -> PortResult<usize> {
        // Read before the positions: a record that comes later arrives later.
        let mut front_ms = now_ms - self.config.jitter_ms;
        let shards = self.ports.shards.shards().await?;
        for shard in &shards {
            let position = self.ports.shards.position(AGGREGATE, &shard.id).await?;
            if let Some(next) = self.ports.shards.read(&shard.id, position.done, 1).await?.first() {
                front_ms = front_ms.min(next.arrived_at_ms - self.config.jitter_ms);
            }
        }
        let mut forgotten = 0;
        for shard in &shards {
            let delivered = self.ports.shards.position(LAKE, &shard.id).await?;
            if let Some(up_to) = delivered.done {
                let before_ms = front_ms - self.config.window_ms;
                forgotten += self.ports.lanes.expire(&shard.id, up_to, before_ms).await?;
            }
        }
        Ok(forgotten)
    }
}
