//! Queries over buckets: an entity's clicks by the minute, hour or day.
//!
//! One pass: the rows' boundaries are laid out once (`calendar`), the stored minutes are folded into them in the order
//! of time (`fold`), a page is cut out of that (`page`). Minutes are read in stretches, so a long range needs no more
//! memory than a short one.
//!
//! What the answers mean:
//! - Rows cover the range and nothing else: the first begins at `from`, even in the middle of an hour, the last ends at
//!   `to`. So they add up to the totals, whatever the zone and the granularity.
//! - Days and hours are local: see `calendar` for days of 23 hours and hours of 30 minutes.
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

use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

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
/// Reads with cells under way at the same time: the next stretch is read while this one is folded.
const READS_AT_ONCE: usize = 2;

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

        let (entity, group_by) = (query.entity, query.group_by);
        if group_by.needs_cells() {
            let reads = stretches(calendar.first_minute()..plan.to, CELLS_STRETCH)
                .map(|minutes| self.buckets.read(entity, minutes.start, minutes.end));
            let mut reads = stream::iter(reads).buffered(READS_AT_ONCE);
            while let Some(buckets) = reads.next().await {
                fold.cells(&buckets?, |counted| page::group_of(group_by, counted));
            }
        } else {
            for minutes in stretches(calendar.first_minute()..plan.to, TOTALS_STRETCH) {
                fold.totals(
                    &self
                        .buckets
                        .read_totals(entity, minutes.start, minutes.end)
                        .await?,
                );
            }
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

/// A range of Unix minutes cut into stretches of at most `length`, in order.
fn stretches(range: Range<i64>, length: i64) -> impl Iterator<Item = Range<Minute>> + Send {
    let end = range.end;
    range
        .step_by(length as usize)
        .map(move |from| Minute(from)..Minute(end.min(from + length)))
}
