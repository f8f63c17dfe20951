//! Queries over buckets: an entity's clicks by the minute, hour or day.
//!
//! One pass: the rows' boundaries are laid out once (`calendar`), then where their counts are stored (`source`); what is read
//! there is folded into them in the order of time (`fold`), a page is cut out of that (`page`). Counts are read in stretches,
//! so a long range needs no more memory than a short one.
//!
//! What the answers mean:
//! - Rows cover the range and nothing else: the first begins at `from`, even in the middle of an hour, the last ends at
//!   `to`. So they add up to the totals, whatever the zone and the granularity.
//! - Days and hours are local: see `calendar` for days of 23 hours and hours of 30 minutes.
//! - With a window a row is the sum of its own period and those before it, also before `from` (see [`Window`]). Totals
//!   are of the range alone.
//! - Without a breakdown every period has a row; with one, only groups that occur have.
//! - What is sealed is final, and what was never proved and is kept no longer is unknown, not zero (`standing`).
//!
//! Invariant: the answer depends on the stored counts and the query alone; pages of one query fit together.

mod assemble;
mod by_member;
mod calendar;
mod choice;
mod compare;
mod cursor;
mod fold;
mod freshness;
mod local_time;
mod page;
mod part;
mod query;
mod reads;
mod row;
mod source;
mod standing;
mod table;
#[cfg(test)]
mod tests;
mod unsealed;
mod words;

use std::sync::Arc;

pub use choice::{
    BadList, CellFilter, Compare, Countries, Devices, Metric, Metrics, Order, UnknownComparison, UnknownOrder,
};
pub use freshness::Freshness;
pub use local_time::{LocalTime, TimeError};
pub use page::{Comparison, MetricsMeta, MetricsPage, MetricsState, MetricsTotals, PeakMinute, QueryEcho};
pub use query::{InvalidParameter, MetricsQuery, QueryError};
pub use row::{Group, InvalidByVerdict, MetricsRow, Share};
pub use source::CountStores;
pub use standing::CountState;
pub use table::{Cell, columns, write_csv};
pub use words::{BadWindow, Granularity, GroupBy, UnknownGranularity, UnsupportedBreakdown, Window};

use crate::ports::Clock;
use part::Part;

/// Reads under way at the same time: the next piece is read while this one is folded.
const READS_AT_ONCE: usize = 2;
/// How often a query is read before it is given up because hours of it are sealed anew again and again, which each is once an
/// hour at most.
const TRIES: usize = 4;

/// The limits of queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Most rows of a page.
    pub max_page_rows: usize,
    /// Longest range by the minute, days.
    pub max_days_by_minute: u32,
    /// Longest range by the hour, days.
    pub max_days_by_hour: u32,
    /// Longest range by the day, and in one row, days.
    pub max_days_by_day: u32,
    /// Most ads, or placements of an advertiser, that a breakdown tells apart.
    pub max_ads: usize,
    /// Most days that such a breakdown reads in all, one for each ad (or placement) and day: by the day, in one row.
    pub max_ad_days_by_day: u32,
    /// The same by the hour.
    pub max_ad_days_by_hour: u32,
    /// The same by the minute.
    pub max_ad_days_by_minute: u32,
    /// How long partials are kept after their minute, milliseconds, where they expire by themselves: an hour that is not sealed
    /// by then is answered as incomplete. `None` where partials stay until their hour is sealed.
    pub partials_life_ms: Option<i64>,
}

impl Default for MetricsConfig {
    /// 10,000 rows; 31 days, 366 days, 10 years; 1,000 ads, for 100 days, 31 days and 4 days, fewer for longer; partials stay.
    fn default() -> Self {
        Self {
            max_page_rows: 10_000,
            max_days_by_minute: 31,
            max_days_by_hour: 366,
            max_days_by_day: 3653,
            max_ads: 1000,
            max_ad_days_by_day: 100_000,
            max_ad_days_by_hour: 31_000,
            max_ad_days_by_minute: 4000,
            partials_life_ms: None,
        }
    }
}

impl MetricsConfig {
    /// Longest range of a granularity, days.
    pub fn longest_days(&self, granularity: Granularity) -> u32 {
        match granularity {
            Granularity::Minute => self.max_days_by_minute,
            Granularity::Hour => self.max_days_by_hour,
            Granularity::Day | Granularity::Total => self.max_days_by_day,
        }
    }

    fn most_ad_days(&self, granularity: Granularity) -> u32 {
        match granularity {
            Granularity::Minute => self.max_ad_days_by_minute,
            Granularity::Hour => self.max_ad_days_by_hour,
            Granularity::Day | Granularity::Total => self.max_ad_days_by_day,
        }
    }
}

/// Answers queries.
#[derive(Clone)]
pub struct MetricsService {
    stores: CountStores,
    clock: Arc<dyn Clock>,
    config: MetricsConfig,
}

impl MetricsService {
    /// A service over these stores.
    pub fn new(stores: CountStores, clock: Arc<dyn Clock>, config: MetricsConfig) -> Self {
        Self {
            stores,
            clock,
            config,
        }
    }

    /// Most ads that a breakdown tells apart.
    pub fn max_ads(&self) -> usize {
        self.config.max_ads
    }

    /// One page of the answer. Who may ask about the entity is for the caller to judge.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn query(&self, query: &MetricsQuery) -> Result<MetricsPage, QueryError> {
        let prepared = self.prepare(query).await?;
        Ok(self.answer(prepared).await?.0)
    }

    /// Checks a query, and looks up what its counts are worth without reading them.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn prepare(&self, query: &MetricsQuery) -> Result<Prepared, QueryError> {
        let main = self.part(query.clone()).await?;
        let beside = match query.compare {
            None => None,
            Some(compare) => {
                let shifted = compare::shifted(query, compare, main.zone())?;
                Some(self.part(shifted).await?)
            }
        };
        Ok(Prepared { main, beside })
    }

    /// The page, and what may be kept of it.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn answer(&self, prepared: Prepared) -> Result<(MetricsPage, Freshness), QueryError> {
        let Prepared { mut main, beside } = prepared;
        let mut page = self.read(&mut main).await?;
        let beside = match beside {
            None => None,
            Some(mut beside) => {
                let found = self.read(&mut beside).await?;
                page.comparison = Some(compare::beside(&page, found));
                Some(beside)
            }
        };
        let freshness = Prepared { main, beside }.freshness();
        Ok((page, freshness))
    }
}

/// A query that was checked, and where its counts are.
pub struct Prepared {
    main: Part,
    /// The range that it is put beside.
    beside: Option<Part>,
}

impl Prepared {
    /// What may be kept of the answer, as far as it is known before it is read.
    pub fn freshness(&self) -> Freshness {
        Freshness::of(std::iter::once(&self.main).chain(&self.beside))
    }
}
