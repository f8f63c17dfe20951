//! Sealed hours and days.

use async_trait::async_trait;

use super::{MinuteTotals, PortResult};
use crate::domain::entity::Entity;
use crate::domain::ids::{AdvertiserId, PlacementId};
use crate::domain::packed::{NotPacked, PackedDay, PackedHour};
use crate::domain::sealed::{QUARTER_MINUTES, SealedDay, SealedHour};
use crate::domain::time::{Day, Hour, Minute};

/// A sealed hour without its cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedHourTotals {
    /// Which hour.
    pub hour: Hour,
    /// Written by which run.
    pub version: u64,
    /// Its minutes that have clicks, in order.
    pub minutes: Vec<MinuteTotals>,
}

impl SealedHourTotals {
    /// Of a packed hour's totals.
    ///
    /// # Errors
    /// [`NotPacked`]
    pub fn unpack(hour: Hour, version: u64, totals: &[u8]) -> Result<Self, NotPacked> {
        let first = hour.first_minute();
        let minute =
            |(place, totals): (u8, _)| MinuteTotals::of_totals(Minute(first.0 + i64::from(place)), totals);
        Ok(Self {
            hour,
            version,
            minutes: PackedHour::totals(totals)?.into_iter().map(minute).collect(),
        })
    }
}

/// A quarter-hour without its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarterTotals {
    /// Its first minute, and the clicks of all fifteen.
    pub totals: MinuteTotals,
    /// The first of its minutes with most valid clicks (0 to 14), and how many.
    pub peak: (u8, u64),
}

/// A sealed day without its cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDayTotals {
    /// Which day.
    pub day: Day,
    /// Written by which run.
    pub version: u64,
    /// Its quarter-hours that have clicks, in order.
    pub quarters: Vec<QuarterTotals>,
}

impl SealedDayTotals {
    /// Of a packed day's totals.
    ///
    /// # Errors
    /// [`NotPacked`]
    pub fn unpack(day: Day, version: u64, totals: &[u8]) -> Result<Self, NotPacked> {
        let first = day.first_hour().first_minute();
        let quarter = |(place, totals, peak): (u8, _, _)| {
            let minute = Minute(first.0 + i64::from(place) * QUARTER_MINUTES);
            QuarterTotals {
                totals: MinuteTotals::of_totals(minute, totals),
                peak,
            }
        };
        Ok(Self {
            day,
            version,
            quarters: PackedDay::totals(totals)?.into_iter().map(quarter).collect(),
        })
    }
}

/// Counts under versions. Nobody sees a version before its manifest is flipped, so writes need no condition: a run that was
/// overtaken writes what nobody reads.
#[async_trait]
pub trait SealedCounts: Send + Sync {
    /// Writes some entities of one hour under one version; `slice` numbers the calls of a version. Writing a slice again
    /// replaces it.
    async fn write_hours(
        &self,
        hour: Hour,
        version: u64,
        slice: u32,
        items: Vec<SealedHour>,
    ) -> PortResult<()>;
    /// The entities that have an item in this hour under this version, in order, after `after`, at most `limit`.
    async fn entities(
        &self,
        hour: Hour,
        version: u64,
        after: Option<Entity>,
        limit: usize,
    ) -> PortResult<Vec<Entity>>;
    /// An entity's items in `from..to`, of every version that is still stored, in the order of hours.
    async fn read_hours(&self, entity: Entity, from: Hour, to: Hour) -> PortResult<Vec<SealedHour>>;
    /// The same without cells.
    async fn read_hour_totals(
        &self,
        entity: Entity,
        from: Hour,
        to: Hour,
    ) -> PortResult<Vec<SealedHourTotals>>;
    /// The placements by which the advertiser has clicks in items of `from..to`
    /// ([`Entity::AdvertiserPlacement`]), in order, after `after`, at most `limit`; fewer only at the end.
    ///
    /// Contract: none is left out whose item was written before the call. Some may be named that have no item there (any more):
    /// an adapter may know them by the month, and forget none.
    async fn placements(
        &self,
        advertiser: AdvertiserId,
        from: Hour,
        to: Hour,
        after: Option<PlacementId>,
        limit: usize,
    ) -> PortResult<Vec<PlacementId>>;
    /// Writes days, each under its version; an item of the same entity, day and version is replaced.
    async fn write_days(&self, items: Vec<SealedDay>) -> PortResult<()>;
    /// An entity's days in `from..to`, of every version that is still stored, in order.
    async fn read_days(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDay>>;
    /// The same without cells.
    async fn read_day_totals(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDayTotals>>;
    /// Forgets the hour's items of versions below `below`, but for those of `keep`; says how many. A step of at most `limit`.
    async fn forget_hours(&self, hour: Hour, below: u64, keep: &[u64], limit: usize) -> PortResult<usize>;
    /// The same for a day, whose items are those of the entities of its hours.
    async fn forget_days(&self, day: Day, below: u64, keep: u64, limit: usize) -> PortResult<usize>;
}
