//! The lane log: the click ids that one shard has lately absorbed, by which repeats are known.

use std::collections::HashSet;

use super::ids::ClickId;
use super::sequence::SequenceNumber;

/// What one committed sub-batch leaves in its shard's log. At most 400 KB (DynamoDB's item): some 20,000 ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneItem {
    /// The last sequence number below which everything of the sub-batch is committed: the item's key in its shard.
    pub last: SequenceNumber,
    /// Earliest arrival of its records, Unix milliseconds.
    pub first_arrival_ms: i64,
    /// Latest arrival of its records, Unix milliseconds: by it the item's age is judged.
    pub last_arrival_ms: i64,
    /// The ids by which later repeats are dropped.
    pub ids: Vec<ClickId>,
    /// The ids of late copies: for the proof of the lake only, never for judging repeats.
    pub late_ids: Vec<ClickId>,
}

impl LaneItem {
    /// What two items with the same `last` come to: a batch that is delivered again may begin later than it did, and what it no
    /// longer holds was absorbed all the same.
    #[must_use]
    pub fn joined(mut self, other: LaneItem) -> Self {
        self.first_arrival_ms = self.first_arrival_ms.min(other.first_arrival_ms);
        self.last_arrival_ms = self.last_arrival_ms.max(other.last_arrival_ms);
        for (ours, theirs) in [(&mut self.ids, other.ids), (&mut self.late_ids, other.late_ids)] {
            let known: HashSet<ClickId> = ours.iter().copied().collect();
            ours.extend(theirs.into_iter().filter(|id| !known.contains(id)));
        }
        self
    }
}
