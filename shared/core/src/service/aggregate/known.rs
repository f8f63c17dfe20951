//! What an environment knows of a shard: the lane log's window in memory, and how fast each ad is.
//!
//! Invariant: what is known is a superset of the window that the log's items show, of the shard and of all its ancestors.

use super::hot_ads::Meter;
use super::seen::SeenIds;
use super::{AggregateConfig, AggregatePorts};
use crate::domain::bucket::ShardId;
use crate::domain::lane::LaneItem;
use crate::domain::mutation::{Broken, Mutation};
use crate::domain::sequence::SequenceNumber;
use crate::ports::{PortResult, Shard};

/// A shard's log, in memory.
#[derive(Default)]
pub(super) struct Known {
    /// The last item of the shard's own log that was read or written.
    pub(super) last: Option<SequenceNumber>,
    pub(super) seen: SeenIds,
    pub(super) meter: Meter,
}

impl Known {
    /// Brings what is known up to date for a batch whose first record arrived at `arrived_at_ms`: warm, only the items
    /// after the last known; cold, the window of the shard and of all its ancestors.
    pub(super) async fn read(
        warm: Option<Known>,
        shard: &ShardId,
        arrived_at_ms: i64,
        ports: &AggregatePorts,
        config: &AggregateConfig,
        mutation: Mutation,
    ) -> PortResult<Known> {
        let since_ms = if mutation.is(Broken::WindowShort) {
            arrived_at_ms - config.late_after_ms / 4
        } else if mutation.is(Broken::WindowWallClock) {
            ports.clock.now_ms() - config.late_after_ms - config.slack_ms
        } else {
            // By the records' own arrivals, never by a wall clock: a batch may be delivered days later.
            arrived_at_ms - config.late_after_ms - config.slack_ms
        };
        let mut known = match warm {
            Some(known) => known,
            None => {
                let mut known = Known::default();
                for ancestor in ancestors(shard, &ports.shards.shards().await?, mutation) {
                    if mutation.is(Broken::ParentsInFirstBatch)
                        && !ports.lanes.read(shard, None, i64::MIN).await?.is_empty()
                    {
                        break;
                    }
                    for item in ports.lanes.read(&ancestor, None, since_ms).await? {
                        known.take(&item);
                    }
                }
                known
            }
        };
        for item in ports.lanes.read(shard, known.last, since_ms).await? {
            known.take(&item);
            known.last = known.last.max(Some(item.last));
        }
        known.seen.forget_before(since_ms);
        Ok(known)
    }

    fn take(&mut self, item: &LaneItem) {
        for id in &item.ids {
            self.seen.insert(*id, item.last_arrival_ms);
        }
    }
}

/// The shards that this one came from, and those that they came from.
fn ancestors(shard: &ShardId, shards: &[Shard], mutation: Mutation) -> Vec<ShardId> {
    let parents = |id: &ShardId| {
        shards
            .iter()
            .find(|other| other.id == *id)
            .map_or(&[][..], |other| &other.parents[..])
    };
    let mut found: Vec<ShardId> = if mutation.is(Broken::NoParents) {
        Vec::new()
    } else {
        parents(shard).to_vec()
    };
    let mut next = 0;
    while let Some(ancestor) = found.get(next).cloned() {
        next += 1;
        if mutation.is(Broken::NoGrandparents) {
            continue;
        }
        for older in parents(&ancestor) {
            if !found.contains(older) {
                found.push(older.clone());
            }
        }
    }
    found
}
