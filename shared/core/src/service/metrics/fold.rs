//! The fold: stored minutes and quarter-hours to the sums that a page needs, in one pass, in the order of time.
//!
//! Invariant: totals hold every minute of the range, whichever page is asked for; rows are kept only for the page, so what
//! a query holds in memory is bounded by the page and its window, not by the range.

use std::ops::Range;

use super::calendar::Calendar;
use super::choice::CellFilter;
use super::query::Plan;
use super::reads::Counted;
use super::words::GroupBy;
use crate::domain::counter::{self, Counters};
use crate::domain::verdict::Verdict;
use crate::ports::MinuteTotals;

/// Clicks by verdict, in the order of [`Verdict::ALL`]; the first are the valid ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts(pub(super) [u64; Verdict::ALL.len()]);

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Takes away what was added before.
    pub(super) fn subtract(&mut self, other: &Counts) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, theirs)| *mine -= theirs);
    }

    pub(super) fn valid(&self) -> u64 {
        self.0[0]
    }

    pub(super) fn invalid(&self) -> u64 {
        self.0[1..].iter().sum()
    }

    fn of_totals(totals: &MinuteTotals) -> Self {
        let mut counts = totals.invalid;
        counts[0] = totals.valid;
        Self(counts)
    }

    fn of_cells(counters: &Counters) -> Self {
        let mut counts = Self::default();
        for (key, count) in counters.iter() {
            match key.counted() {
                counter::Counted::Cell(..) => counts.0[0] += count,
                counter::Counted::Invalid(verdict) => counts.0[verdict as usize] += count,
            }
        }
        counts
    }

    /// Of the cells that a filter takes; invalid clicks have none.
    fn of_filtered(counters: &Counters, filter: &CellFilter) -> Self {
        let mut counts = Self::default();
        for (key, count) in counters.iter() {
            if let counter::Counted::Cell(device, country) = key.counted()
                && filter.takes(device, country)
            {
                counts.0[0] += count;
            }
        }
        counts
    }

    /// Whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}

/// What one segment counted of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupCount {
    pub(super) segment: usize,
    /// See [`super::row`] for how a group is packed.
    pub(super) group: u16,
    pub(super) count: u64,
}

/// What the fold keeps for rows.
#[derive(Debug)]
pub(super) enum Kept {
    /// Without a breakdown: one entry for each segment of [`Fold::wanted`].
    Plain(Vec<Counts>),
    /// With one: what occurs, in the order of segments and groups.
    Grouped(Vec<GroupCount>),
}

/// A fold under way.
#[derive(Debug)]
pub(super) struct Fold<'a> {
    calendar: &'a Calendar,
    /// First minute of the range: what comes before it is only there for windows.
    from: i64,
    /// The segment that the fold has come to.
    segment: usize,
    /// The segments that the page needs.
    pub(super) wanted: Range<usize>,
    pub(super) kept: Kept,
    pub(super) totals: Counts,
    /// The first of the minutes with most valid clicks, and how many.
    pub(super) peak: Option<(i64, u64)>,
    open: OpenSegment,
    /// How many entries at or behind the page's first row are still needed to fill the page.
    missing: usize,
    first_row_segment: usize,
}

/// The groups of the segment that the fold has come to. Dense, so that adding is one step whatever the number of groups.
#[derive(Debug)]
struct OpenSegment {
    counts: Vec<u64>,
    touched: Vec<u16>,
}

/// Groups are below this.
const GROUPS: usize = 7 * 256;

impl<'a> Fold<'a> {
    /// A fold that keeps what the rows from `first_row` on need for one page; of an ad or a placement every one of them,
    /// since rows without a click are left out.
    pub(super) fn new(plan: &Plan, group_by: GroupBy, calendar: &'a Calendar, first_row: usize) -> Self {
        let rows = calendar.rows();
        let first_row_segment = calendar.segment_of(first_row.min(rows - 1));
        let begin = calendar.window_of(first_row.min(rows - 1)).start;
        let (end, kept, groups) = if group_by == GroupBy::None {
            let last_row = first_row.saturating_add(plan.limit).min(rows) - 1;
            let end = calendar.segment_of(last_row) + 1;
            (end, Kept::Plain(vec![Counts::default(); end - begin]), 0)
        } else if group_by.is_of_members() {
            let end = calendar.segments();
            (end, Kept::Plain(vec![Counts::default(); end - begin]), 0)
        } else {
            (calendar.segments(), Kept::Grouped(Vec::new()), GROUPS)
        };
        Self {
            calendar,
            from: plan.from,
            segment: 0,
            wanted: begin..end,
            kept,
            totals: Counts::default(),
            peak: None,
            open: OpenSegment {
                counts: vec![0; groups],
                touched: Vec::new(),
            },
            // The cursor's own row may have shown any number of groups already; one more than the page tells whether there
            // is another.
            missing: plan.limit + 1 + plan.after.map_or(0, |_| GROUPS),
            first_row_segment,
        }
    }

    /// Takes counts without cells: for rows without a breakdown, and by verdict.
    pub(super) fn totals(&mut self, counted: &[Counted<MinuteTotals>]) {
        for Counted { minute, counts, peak } in counted {
            let counts = Counts::of_totals(counts);
            if self.count(*minute, &counts, *peak) && matches!(self.kept, Kept::Grouped(_)) {
                for (verdict, count) in counts.0.iter().enumerate() {
                    self.open.add(verdict as u16, *count);
                }
            }
        }
    }

    /// Takes counts with their cells: for breakdowns of valid clicks, and for some of them alone.
    ///
    /// What a filter takes of a quarter-hour has a peak that nobody knows; whoever asks for it reads minutes
    /// ([`Plan::by_days`]).
    pub(super) fn cells(
        &mut self,
        counted: &[Counted<Counters>],
        filter: &CellFilter,
        group_of: impl Fn(counter::Counted) -> Option<u16>,
    ) {
        for Counted { minute, counts, peak } in counted {
            let (sums, peak) = if filter.is_set() {
                let sums = Counts::of_filtered(counts, filter);
                (sums, (*minute, sums.valid()))
            } else {
                (Counts::of_cells(counts), *peak)
            };
            if !self.count(*minute, &sums, peak) {
                continue;
            }
            for (key, count) in counts.iter() {
                let cell = key.counted();
                if let counter::Counted::Cell(device, country) = cell
                    && filter.takes(device, country)
                    && let Some(group) = group_of(cell)
                {
                    self.open.add(group, count);
                }
            }
        }
    }

    /// Counts a minute, or a quarter-hour that no boundary cuts, in totals and plain rows, and says whether its groups are
    /// wanted.
    fn count(&mut self, minute: i64, counts: &Counts, peak: (i64, u64)) -> bool {
        if !(self.calendar.first_minute()..self.calendar.last_minute()).contains(&minute) {
            return false;
        }
        while self.calendar.end_of(self.segment) <= minute {
            self.close_segment();
            self.segment += 1;
        }
        if minute >= self.from {
            self.totals.add(counts);
            if peak.1 > self.peak.map_or(0, |(_, most)| most) {
                self.peak = Some(peak);
            }
        }
        let wanted = self.wanted.contains(&self.segment);
        if let (true, Kept::Plain(rows)) = (wanted, &mut self.kept) {
            rows[self.segment - self.wanted.start].add(counts);
        }
        wanted
    }

    /// Keeps the open segment's groups.
    fn close_segment(&mut self) {
        let Kept::Grouped(kept) = &mut self.kept else {
            return;
        };
        self.open.touched.sort_unstable();
        for group in self.open.touched.drain(..) {
            let count = std::mem::take(&mut self.open.counts[usize::from(group)]);
            kept.push(GroupCount {
                segment: self.segment,
                group,
                count,
            });
            if self.segment >= self.first_row_segment {
                self.missing = self.missing.saturating_sub(1);
            }
        }
        if self.missing == 0 {
            // Every entry kept is at least one row, so the page is full.
            self.wanted.end = self.wanted.end.min(self.segment + 1);
        }
    }

    /// After the last minute.
    pub(super) fn finish(mut self) -> Self {
        self.close_segment();
        self
    }
}

impl OpenSegment {
    fn add(&mut self, group: u16, count: u64) {
        if count == 0 {
            return;
        }
        let sum = &mut self.counts[usize::from(group)];
        if *sum == 0 {
            self.touched.push(group);
        }
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::Entity;
    use crate::domain::time::Minute;
    use crate::service::metrics::words::Granularity;
    use crate::service::metrics::{MetricsConfig, MetricsQuery};

    const FROM: i64 = 29_455_200;

    fn plan(group_by: GroupBy) -> Plan {
        let query = MetricsQuery {
            granularity: Granularity::Minute,
            group_by,
            limit: Some(10),
            ..MetricsQuery::over(Entity::Total, FROM * 60_000, (FROM + 1440) * 60_000)
        };
        Plan::new(&query, &MetricsConfig::default()).unwrap()
    }

    #[test]
    fn only_what_a_page_needs_is_kept_and_all_of_the_range_is_totalled() {
        let minute = |minute| Counted {
            minute,
            counts: MinuteTotals {
                minute: Minute(minute),
                valid: 2,
                invalid: [0, 0, 0, 0, 0, 0, 1, 0, 0],
            },
            peak: (minute, 2),
        };
        let minutes: Vec<_> = (FROM..FROM + 1440).map(minute).collect();
        for (group_by, entries) in [(GroupBy::None, 10), (GroupBy::Verdict, 12)] {
            let plan = plan(group_by);
            let calendar = Calendar::new(&plan, Granularity::Minute);
            let mut fold = Fold::new(&plan, group_by, &calendar, 0);
            fold.totals(&minutes);
            let fold = fold.finish();
            let kept = match &fold.kept {
                Kept::Plain(rows) => rows.len(),
                Kept::Grouped(entries) => entries.len(),
            };
            assert_eq!(
                kept, entries,
                "{group_by:?}: ten rows, and whether there are more"
            );
            assert_eq!((fold.totals.valid(), fold.totals.invalid()), (2880, 1440));
        }
    }
}
