//! What lies behind a closed shard's last heartbeat: proved click by click.

use std::collections::BTreeMap;

use super::HeartbeatProof;
use crate::domain::bucket::ShardId;
use crate::domain::ids::ClickId;
use crate::domain::record::CountedClick;
use crate::domain::time::Hour;
use crate::ports::PortResult;

/// Clicks that must lie in the lake, by the partitions in which the objects are that they came in. Another copy, in an object
/// behind these, says nothing: an hour's recount reads no further.
#[derive(Default)]
pub(super) struct Tail(BTreeMap<(Hour, Hour), Vec<ClickId>>);

/// Records of one read.
const PAGE: usize = 1000;
/// Clicks that are looked for at once.
const CLICKS: usize = 5_000;

impl Tail {
    pub(super) fn extend(&mut self, other: Tail) {
        for (partitions, clicks) in other.0 {
            self.0.entry(partitions).or_default().extend(clicks);
        }
    }

    /// Clicks that arrived from `first_ms` to `last_ms`: an object is named by its oldest record, and of an hour at most. By
    /// `slack_ms` it may be named later: the delivery service dates records when it gets them.
    pub(super) fn add(
        &mut self,
        first_ms: i64,
        last_ms: i64,
        slack_ms: i64,
        clicks: impl IntoIterator<Item = ClickId>,
    ) {
        let partitions = (
            Hour(Hour::of(first_ms).0 - 1),
            Hour(Hour::of(last_ms + slack_ms).0 + 1),
        );
        self.0.entry(partitions).or_default().extend(clicks);
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
                let clicks = item.ids.into_iter().chain(item.late_ids);
                tail.add(
                    item.first_arrival_ms,
                    item.last_arrival_ms,
                    self.longest_gap_ms,
                    clicks,
                );
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
                    let at_ms = record.arrived_at_ms;
                    tail.add(at_ms, at_ms, self.longest_gap_ms, [click.click_id]);
                }
            }
        }
    }

    pub(super) async fn all_present(&self, tail: &Tail) -> PortResult<bool> {
        for ((first, end), clicks) in &tail.0 {
            for some in clicks.chunks(CLICKS) {
                let present = self.ports.lake.present(*first..*end, some).await?;
                if some.iter().any(|click| !present.contains(click)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
