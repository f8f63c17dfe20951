//! Reading the raw lake: what proofs, recounts and promotions ask of it.
//!
//! The lake is cut into *arrival partitions*: an object lies in the hour in which the oldest of its records arrived, so a
//! record may lie up to an object's length before its own arrival. It holds clicks, some of them more than once, and
//! heartbeats; lines that are neither are passed over (they are in quarantine).

use std::collections::HashSet;
use std::ops::Range;

use async_trait::async_trait;

use super::PortResult;
use crate::domain::counter::Counters;
use crate::domain::entity::Entity;
use crate::domain::ids::{ClickId, HeartbeatId};
use crate::domain::manifest::LakeTotals;
use crate::domain::record::{ClickRecord, CountedClick};
use crate::domain::time::{Hour, Minute};
use crate::domain::verdict::Verdict;

/// A part of the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeSlice {
    /// Arrival partitions, `start` inclusive, `end` exclusive.
    pub arrivals: Range<Hour>,
    /// Only the clicks of this hour; all, if `None`.
    pub clicked: Option<Hour>,
}

/// A click as it lies in the lake; copies of it are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LakeClick {
    /// What is counted of it.
    pub click: CountedClick,
    /// Of a duplicate: the click that has the impression.
    pub duplicate_of: Option<ClickId>,
}

impl LakeClick {
    /// The click of a line; `None` where it is none that counts (it is a heartbeat, or lies in quarantine).
    pub fn parse(line: &[u8]) -> Option<Self> {
        let click = CountedClick::parse(line).ok()?;
        let duplicate_of = match click.verdict {
            Verdict::Duplicate => serde_json::from_slice::<ClickRecord>(line).ok()?.duplicate_of,
            _ => None,
        };
        Some(Self { click, duplicate_of })
    }

    /// Whether it would be valid, but nobody knows yet whose the impression is.
    pub fn is_unclaimed(&self) -> bool {
        self.click.verdict.is_valid() && !self.click.claimed
    }
}

/// The clicks of one hour that lie in some arrival partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClickedHour {
    /// The hour of `clicked_at`.
    pub hour: Hour,
    /// How many different clicks.
    pub clicks: u64,
    /// The last of the partitions that holds some.
    pub last_arrival: Hour,
}

/// A recount whose result stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recount {
    /// The adapter's name for the result, by which another process can go on reading it.
    pub id: String,
    /// Rows and clicks of the hour (`valid` is 0: the service says what is valid).
    pub totals: LakeTotals,
}

/// One minute of one entity, recounted. Clicks that are valid but unclaimed are in `clicks` and `rows` and in no counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecountRow {
    /// Whose clicks.
    pub entity: Entity,
    /// In which minute.
    pub minute: Minute,
    /// Counts by the records' own verdicts.
    pub counters: Counters,
    /// Different clicks.
    pub clicks: u64,
    /// Rows: `clicks` and their repeats.
    pub rows: u64,
}

/// Reading the lake.
///
/// Contract: an answer holds at least what lay in the lake when the call began. Clicks are one for each `click_id`.
#[async_trait]
pub trait LakeReader: Send + Sync {
    /// The heartbeats that lie in these partitions.
    async fn heartbeats(&self, arrivals: Range<Hour>) -> PortResult<HashSet<HeartbeatId>>;
    /// Which of these clicks lie in these partitions.
    async fn present(&self, arrivals: Range<Hour>, clicks: &[ClickId]) -> PortResult<HashSet<ClickId>>;
    /// How many objects of these partitions could not be delivered (the error prefix).
    async fn undelivered(&self, arrivals: Range<Hour>) -> PortResult<u64>;
    /// How many different clicks of which hours lie in these partitions, in the order of hours.
    async fn clicked_hours(&self, arrivals: Range<Hour>) -> PortResult<Vec<ClickedHour>>;
    /// Clicks that are valid but unclaimed, in the order of their ids, after `after`, at most `limit`.
    async fn unclaimed(
        &self,
        slice: &LakeSlice,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>>;
    /// These clicks, as far as they lie there, in the order of their ids.
    async fn clicks(&self, slice: &LakeSlice, clicks: &[ClickId]) -> PortResult<Vec<LakeClick>>;
    /// Duplicates among `slice` whose `duplicate_of` does not lie in the partitions `owners`, in the order of their ids,
    /// after `after`, at most `limit`.
    async fn orphaned(
        &self,
        slice: &LakeSlice,
        owners: Range<Hour>,
        after: Option<ClickId>,
        limit: usize,
    ) -> PortResult<Vec<LakeClick>>;
    /// Recounts an hour: one row per `click_id`, grouped by entity and minute. The result stands until it is forgotten: what
    /// reaches the lake later doesn't change it.
    async fn recount(&self, hour: Hour, arrivals: Range<Hour>) -> PortResult<Recount>;
    /// Rows of a recount in the order of entities and minutes, from the `from`th on, at most `limit`; fewer only at the end.
    ///
    /// # Errors
    /// [`PortError::Rejected`](super::PortError::Rejected) where the result is gone: recount anew.
    async fn rows(&self, recount: &str, from: u64, limit: usize) -> PortResult<Vec<RecountRow>>;
    /// Lets a recount's result go.
    async fn forget(&self, recount: &str) -> PortResult<()>;
}
