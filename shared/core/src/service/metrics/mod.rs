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
mod calendar;
mod cursor;
mod fold;
mod local_time;
mod page;
mod query;
mod reads;
mod source;
mod standing;
mod table;
#[cfg(test)]
mod tests;
mod unsealed;
mod words;

use std::sync::Arc;

use futures_util::{StreamExt, stream};

pub use local_time::{LocalTime, TimeError};
pub use page::{
    InvalidByVerdict, MetricsMeta, MetricsPage, MetricsRow, MetricsState, MetricsTotals, PeakMinute,
    QueryEcho,
};
pub use query::{InvalidParameter, MetricsQuery, QueryError};
pub use source::CountStores;
pub use standing::CountState;
pub use table::{Cell, columns, write_csv};
pub use words::{BadWindow, Granularity, GroupBy, UnknownGranularity, UnsupportedBreakdown, Window};

use crate::ports::{Clock, PortError};
use calendar::Calendar;
use fold::Fold;
use query::Plan;
use source::Layout;

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
    /// Longest range by the day, days.
    pub max_days_by_day: u32,
    /// How long partials are kept after their minute, milliseconds, where they expire by themselves: an hour that is not sealed
    /// by then is answered as incomplete. `None` where partials stay until their hour is sealed.
    pub partials_life_ms: Option<i64>,
}

impl Default for MetricsConfig {
    /// 10,000 rows; 31 days, 366 days, 10 years; partials stay.
    fn default() -> Self {
        Self {
            max_page_rows: 10_000,
            max_days_by_minute: 31,
            max_days_by_hour: 366,
            max_days_by_day: 3653,
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
            Granularity::Day => self.max_days_by_day,
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

    /// One page of the answer. Who may ask about the entity is for the caller to judge.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn query(&self, query: &MetricsQuery) -> Result<MetricsPage, QueryError> {
        let plan = Plan::new(query, &self.config)?;
        let calendar = Calendar::new(&plan, query.granularity);
        let first_row = first_row(query, &plan, &calendar)?;
        let as_of_ms = self.clock.now_ms();
        let mut layout = self.layout(query, &calendar, as_of_ms).await?;
        for _ in 0..TRIES {
            let (fold, missing) = self.fold(query, &plan, &calendar, first_row, &layout).await?;
            // In a sealed hour no item means no click, unless a later version took the item's place while we read.
            let later = match missing {
                true => Some(self.layout(query, &calendar, as_of_ms).await?),
                false => None,
            };
            match later {
                Some(later) if !layout.is_still(&later) => layout = later,
                _ => {
                    let standings = &layout.standings;
                    return Ok(assemble::assemble(
                        query, plan, &calendar, &fold, standings, first_row, as_of_ms,
                    ));
                }
            }
        }
        Err(PortError::unavailable("hours of the range are being sealed anew").into())
    }

    async fn layout(
        &self,
        query: &MetricsQuery,
        calendar: &Calendar,
        now_ms: i64,
    ) -> Result<Layout, PortError> {
        let lost_before_ms = self.config.partials_life_ms.map(|life_ms| now_ms - life_ms);
        Layout::read(
            &self.stores,
            calendar,
            query.group_by.needs_cells(),
            lost_before_ms,
        )
        .await
    }

    /// Reads and folds every piece, and says whether a sealed one of them had no item.
    async fn fold<'a>(
        &self,
        query: &MetricsQuery,
        plan: &Plan,
        calendar: &'a Calendar,
        first_row: usize,
        layout: &Layout,
    ) -> Result<(Fold<'a>, bool), PortError> {
        let (entity, group_by) = (query.entity, query.group_by);
        let (stores, pieces) = (&self.stores, &layout.pieces);
        let mut fold = Fold::new(plan, group_by, calendar, first_row);
        let mut missing = false;
        if group_by.needs_cells() {
            let reads: Vec<_> = pieces.iter().map(|piece| stores.cells(entity, piece)).collect();
            let mut reads = stream::iter(reads).buffered(READS_AT_ONCE);
            while let Some(found) = reads.next().await {
                let found = found?;
                missing |= found.missing;
                fold.cells(&found.counted, |counted| page::group_of(group_by, counted));
            }
        } else {
            let reads: Vec<_> = pieces.iter().map(|piece| stores.totals(entity, piece)).collect();
            let mut reads = stream::iter(reads).buffered(READS_AT_ONCE);
            while let Some(found) = reads.next().await {
                let found = found?;
                missing |= found.missing;
                fold.totals(&found.counted);
            }
        }
        Ok((fold.finish(), missing))
    }
}

/// The row that the page begins with: the one after the cursor's, or with a breakdown the cursor's own, which may have more
/// groups.
fn first_row(query: &MetricsQuery, plan: &Plan, calendar: &Calendar) -> Result<usize, QueryError> {
    let Some(after) = plan.after else { return Ok(0) };
    let row = calendar
        .row_at(after.start)
        .ok_or_else(|| query::bad_cursor(cursor::BadCursor::NotOurs))?;
    Ok(if query.group_by == GroupBy::None {
        row + 1
    } else {
        row
    })
}
