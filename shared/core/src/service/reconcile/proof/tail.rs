//! What lies behind a closed shard's last heartbeat: proved click by click.

use std::ops::Range;

use super::HeartbeatProof;
use crate::domain::bucket::ShardId;
use crate::domain::ids::ClickId;
use crate::domain::record::CountedClick;
use crate::domain::time::Hour;
use crate::ports::PortResult;

/// Clicks that must lie in the lake.
#[derive(Default)]
pub(super) struct Tail {
    pub(super) clicks: Vec<ClickId>,
    /// When the first of them arrived, or before.
    pub(super) from_ms: Option<i64>,
}

/// Records of one read.
const PAGE: usize = 1000;
/// Clicks that are looked for at once.
const CLICKS: usize = 5_000;

impl Tail {
    pub(super) fn extend(&mut self, other: Tail) {
        self.clicks.extend(other.clicks);
        self.add_from(other.from_ms);
    }

    fn add_from(&mut self, from_ms: Option<i64>) {
        self.from_ms = match (self.from_ms, from_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

impl HeartbeatProof {
    /// The clicks behind the shard's last heartbeat that arrived at or after `since_ms`: those that it has absorbed, and
    /// those that it still holds.
    pub(super) async fn tail(&self, shard: &ShardId, listed: bool, since_ms: i64) -> PortResult<Tail> {
        let last = self.ports.log.last(shard).await?.map(|beat| beat.sequence_number);
        let mut tail = Tail::default();
        let mut absorbed = last;
        for item in self.ports.lanes.read(shard, last, i64::MIN).await? {
            absorbed = absorbed.max(Some(item.last));
            if item.last_arrival_ms >= since_ms {
                tail.clicks.extend(item.ids.into_iter().chain(item.late_ids));
                tail.add_from(Some(item.first_arrival_ms));
            }
        }
        // A shard that is no longer listed has outlived the stream's retention: nothing is left in it.
        if !listed {
            return Ok(tail);
        }
        loop {
            let records = self.ports.shards.read(shard, absorbed, PAGE).await?;
            let Some(record) = records.last() else {
                return Ok(tail);
            };
            absorbed = Some(record.sequence_number);
            for record in records.iter().filter(|record| record.arrived_at_ms >= since_ms) {
                if let Ok(click) = CountedClick::parse(&record.data) {
                    tail.clicks.push(click.click_id);
                    tail.add_from(Some(record.arrived_at_ms));
                }
            }
        }
    }

    pub(super) async fn all_present(&self, arrivals: &Range<Hour>, clicks: &[ClickId]) -> PortResult<bool> {
        for some in clicks.chunks(CLICKS) {
            let present = self.ports.lake.present(arrivals.clone(), some).await?;
            if some.iter().any(|click| !present.contains(click)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
