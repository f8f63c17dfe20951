//! Buckets: committing partials, reading them.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::bucket::{Bucket, Committed, PartialWrite};
use crate::domain::counter::Counters;
use crate::domain::entity::Entity;
use crate::domain::packed::{Totals, fold};
use crate::domain::time::{Hour, Minute};

/// One minute's clicks of an entity, all shards and cells added up: what queries without a breakdown need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteTotals {
    /// Which minute.
    pub minute: Minute,
    /// Valid clicks.
    pub valid: u64,
    /// Clicks by verdict, in the order of [`crate::domain::verdict::Verdict::ALL`]; the first, `valid`, is 0.
    pub invalid: [u64; 9],
}

impl MinuteTotals {
    /// Adds up a minute's counters.
    pub fn of(minute: Minute, counters: &Counters) -> Self {
        let mut totals = [0; 9];
        fold(counters, &mut totals);
        Self::of_totals(minute, totals)
    }

    /// Of a minute's clicks by verdict.
    pub fn of_totals(minute: Minute, totals: Totals) -> Self {
        let [valid, rest @ ..] = totals;
        let mut invalid = [0; 9];
        invalid[1..].copy_from_slice(&rest);
        Self {
            minute,
            valid,
            invalid,
        }
    }
}

/// Partials under their watermarks, of entities that are counted live ([`Entity::is_counted_live`]) alone.
///
/// Contract: a write adds its counts and moves the watermark together, or changes nothing; of two writes of one partial
/// at the same time one sees the other's result. A write whose answer was lost and which is tried again is `Stale` with
/// its own `last`, never added twice.
#[async_trait]
pub trait BucketStore: Send + Sync {
    /// Tries every write by itself; outcomes in their order. Writes of one call never share a partial.
    async fn commit(&self, writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>>;
    /// The entity's minutes in `from..to` that have clicks, in order, with all their counters.
    async fn read(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<Bucket>>;
    /// The entity's minutes in `from..to` that have clicks, in order, without cells.
    async fn read_totals(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<MinuteTotals>>;
    /// Forgets these entities' partials of the hour: it was sealed long ago, and nobody reads them any more. Twice is once.
    /// A store whose partials expire by themselves does nothing.
    async fn forget(&self, hour: Hour, entities: &[Entity]) -> PortResult<()> {
        let _ = (hour, entities);
        Ok(())
    }
}
