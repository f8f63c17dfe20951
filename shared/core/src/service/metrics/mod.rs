//! Queries over buckets: an entity's clicks by the minute, hour or day.
//!
//! One pass: the rows' boundaries are laid out once ([`calendar`]), the stored minutes are folded into them in the order
//! of time ([`fold`]), a page is cut out of that ([`page`]). Minutes are read in stretches, so a long range needs no more
//! memory than a short one.
//!
//! What the answers mean:
//! - Rows cover the range and nothing else: the first begins at `from`, even in the middle of an hour, the last ends at
//!   `to`. So they add up to the totals, whatever the zone and the granularity.
//! - Days and hours are local: see [`calendar`] for days of 23 hours and hours of 30 minutes.
//! - With a window a row is the sum of its own period and those before it, also before `from` (see [`Window`]). Totals
//!   are of the range alone.
//! - Without a breakdown every period has a row; with one, only groups that occur have.
//!
//! Invariant: the answer depends on the stored buckets and the query alone; pages of one query fit together.

mod calendar;
mod cursor;
mod fold;
mod local_time;
mod page;
mod query;
mod table;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

pub use local_time::{LocalTime, TimeError};
pub use page::{
    InvalidByVerdict, MetricsMeta, MetricsPage, MetricsRow, MetricsState, MetricsTotals, PeakMinute,
    QueryEcho,
};
pub use query::{InvalidParameter, MetricsQuery, QueryError};
pub use table::{Cell, columns, write_csv};
pub use words::{BadWindow, Granularity, GroupBy, UnknownGranularity, UnsupportedBreakdown, Window};

use crate::domain::time::Minute;
use crate::ports::{BucketStore, Clock};
use calendar::Calendar;
use fold::Fold;
use query::Plan;

/// Minutes of one read without cells: a month, so that the longest query by the minute is one read.
const TOTALS_STRETCH: i64 = 32 * 1440;
/// Minutes of one read with cells, of which a busy minute has hundreds.
const CELLS_STRETCH: i64 = 7 * 1440;

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
}

impl Default for MetricsConfig {
    /// 10,000 rows; 31 days, 366 days, 10 years.
    fn default() -> Self {
        Self {
            max_page_rows: 10_000,
            max_days_by_minute: 31,
            max_days_by_hour: 366,
            max_days_by_day: 3653,
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
    buckets: Arc<dyn BucketStore>,
    clock: Arc<dyn Clock>,
    config: MetricsConfig,
}

impl MetricsService {
    /// A service over these buckets.
    pub fn new(buckets: Arc<dyn BucketStore>, clock: Arc<dyn Clock>, config: MetricsConfig) -> Self {
        Self {
            buckets,
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
        let mut fold = Fold::new(&plan, query.group_by, &calendar, first_row);

        let with_cells = query.group_by.needs_cells();
        let stretch = if with_cells { CELLS_STRETCH } else { TOTALS_STRETCH };
        let mut at = calendar.first_minute();
        while at < plan.to {
            let (from, to) = (Minute(at), Minute(plan.to.min(at + stretch)));
            if with_cells {
                let buckets = self.buckets.read(query.entity, from, to).await?;
                fold.cells(&buckets, |counted| page::group_of(query.group_by, counted));
            } else {
                fold.totals(&self.buckets.read_totals(query.entity, from, to).await?);
            }
            at = to.0;
        }
        Ok(page::assemble(
            query,
            plan,
            &calendar,
            &fold.finish(),
            first_row,
            as_of_ms,
        ))
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
