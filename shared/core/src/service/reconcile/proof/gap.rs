//! What a shard took while no heartbeat on it was acknowledged: an object may have been delivered that holds none, and nobody
//! would miss it. Proved click by click, from the stream.
//!
//! Invariant: memory is that of one page, however long heartbeats were missing.

use std::ops::Range;

use super::HeartbeatProof;
use super::tail::Tail;
use crate::domain::bucket::ShardId;
use crate::domain::heartbeat::Beat;
use crate::domain::mutation::Broken;
use crate::domain::record::CountedClick;
use crate::domain::sequence::SequenceNumber;
use crate::ports::{PortResult, Shard};

/// Records of one read.
const PAGE: usize = 5_000;

/// Between two heartbeats that are far apart, or before a shard's first one.
pub(super) struct Gap {
    pub(super) shard: ShardId,
    after: Option<SequenceNumber>,
    before: SequenceNumber,
}

impl HeartbeatProof {
    /// The gaps between these heartbeats, and before the first if it came after `from_ms`. A shard that is no longer listed has
    /// outlived the stream's retention: nothing can be held against it.
    pub(super) fn gaps(&self, shard: &Shard, listed: bool, beats: &[Beat], from_ms: i64) -> Vec<Gap> {
        if !listed || self.mutation.is(Broken::GapsUnproved) {
            return Vec::new();
        }
        let gap = |after: Option<&Beat>, before: &Beat| Gap {
            shard: shard.id.clone(),
            after: after.map(|beat| beat.sequence_number),
            before: before.sequence_number,
        };
        let first = beats.first().filter(|first| first.acknowledged_at_ms > from_ms);
        let between = beats.windows(2).filter_map(|pair| {
            let [earlier, later] = pair else { return None };
            let apart_ms = later.acknowledged_at_ms - earlier.sent_at_ms;
            (apart_ms > self.longest_gap_ms).then(|| gap(Some(earlier), later))
        });
        first
            .map(|first| gap(None, first))
            .into_iter()
            .chain(between)
            .collect()
    }

    /// Whether every click of the gap that arrived in this time lies in the lake.
    pub(super) async fn is_delivered(&self, gap: &Gap, time: Range<i64>) -> PortResult<bool> {
        let mut after = gap.after;
        loop {
            let records = self.ports.shards.read(&gap.shard, after, PAGE).await?;
            let Some(last) = records.last() else {
                return Ok(true);
            };
            let ends = last.sequence_number >= gap.before;
            after = Some(last.sequence_number);
            let within = records
                .iter()
                .filter(|record| record.sequence_number < gap.before && time.contains(&record.arrived_at_ms));
            let mut clicks = Tail::default();
            for record in within {
                if let Ok(click) = CountedClick::parse(&record.data) {
                    let at_ms = record.arrived_at_ms;
                    clicks.add(at_ms, at_ms, self.longest_gap_ms, [click.click_id]);
                }
            }
            if !self.all_present(&clicks).await? {
                return Ok(false);
            }
            if ends {
                return Ok(true);
            }
        }
    }
}
