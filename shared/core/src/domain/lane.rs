//! The lane log: the click ids that one shard has lately absorbed, by which repeats are known.

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
