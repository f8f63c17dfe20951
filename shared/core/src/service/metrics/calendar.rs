//! The local calendar of a query: where its rows begin.
//!
//! A row is a period of the local clock, cut to the range asked for. A local hour begins where the clock shows a full hour,
//! and wherever the zone's offset changes: an hour that the clock shows twice is two rows, and where Lord Howe sets its
//! clock by half an hour one row has thirty minutes. A local day begins at the first instant whose date is later than
//! any before it: a clock that is set back over midnight begins no second day, a date that is left out has no row.
//!
//! Invariant: segments follow each other without gap or overlap, and the last ones, from `from` to `to`, are the rows. So
//! the rows of a query without a window add up to its totals.

use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::local_time::LocalTime;
use super::query::Plan;
use super::words::Granularity;
use crate::domain::time::Minute;

/// What the walk needs before its first boundary to know which dates were there before; more than any clock was ever
/// set by.
const LEAD_MINUTES: i64 = 3 * 1440;

/// Times are Unix minutes.
#[derive(Debug)]
pub(super) struct Calendar {
    /// Segment i is `cuts[i]..cuts[i + 1]`.
    cuts: Vec<i64>,
    /// The segment that is the first row; those before it are only there for the window.
    first_row: usize,
    /// Rows of the window.
    window: usize,
    /// Whether the first row's period began before `from`, so that its beginning is a segment of its own.
    clipped: bool,
    /// The zone's offset in seconds, from which minute on.
    offsets: Vec<(i64, i32)>,
}

impl Calendar {
    pub(super) fn new(plan: &Plan, granularity: Granularity) -> Self {
        let (from, to) = (plan.from, plan.to);
        let before = plan.window_rows.map_or(0, |rows| rows as i64 - 1);
        let (lead, unit) = match granularity {
            Granularity::Minute => (0, 1),
            Granularity::Total => (0, 0),
            Granularity::Hour => (LEAD_MINUTES, 60),
            Granularity::Day => (LEAD_MINUTES, 1440),
        };
        let walk = from - before * unit - lead..to;
        let offsets = offsets(&plan.zone, &walk);
        let begins = match granularity {
            Granularity::Minute => walk.collect(),
            Granularity::Total => vec![from],
            Granularity::Hour => hours(&offsets, to),
            Granularity::Day => days(&offsets, to),
        };

        // The period that holds `from`: the walk began periods before it.
        let first = begins.partition_point(|begin| *begin <= from).saturating_sub(1);
        let mut cuts = Vec::with_capacity(begins.len() - first + before as usize + 2);
        let mut clipped = false;
        if plan.window_rows.is_some() {
            cuts.extend(&begins[first.saturating_sub(before as usize)..=first]);
            clipped = begins[first] < from;
        }
        if cuts.last() != Some(&from) {
            cuts.push(from);
        }
        let first_row = cuts.len() - 1;
        cuts.extend(&begins[first + 1..]);
        cuts.push(to);
        Self {
            cuts,
            first_row,
            window: plan.window_rows.unwrap_or(1),
            clipped,
            offsets,
        }
    }

    /// How many rows the range has.
    pub(super) fn rows(&self) -> usize {
        self.cuts.len() - 1 - self.first_row
    }

    /// How many segments there are, those before the range included.
    pub(super) fn segments(&self) -> usize {
        self.cuts.len() - 1
    }

    /// The segment that is this row.
    pub(super) fn segment_of(&self, row: usize) -> usize {
        self.first_row + row
    }

    /// The first minute that must be read.
    pub(super) fn first_minute(&self) -> i64 {
        self.cuts[0]
    }

    /// Behind the last minute of the range.
    pub(super) fn last_minute(&self) -> i64 {
        self.end_of(self.segments() - 1)
    }

    /// Where segments begin and end, in order.
    pub(super) fn boundaries(&self) -> impl Iterator<Item = i64> {
        self.cuts.iter().copied()
    }

    /// When a segment ends.
    pub(super) fn end_of(&self, segment: usize) -> i64 {
        self.cuts[segment + 1]
    }

    /// The segments that add up to this row.
    pub(super) fn window_of(&self, row: usize) -> Range<usize> {
        // The first row's period is one segment more where it is clipped, so windows that began behind it are shifted.
        let first = if row < self.window {
            row
        } else {
            row + usize::from(self.clipped)
        };
        first..self.segment_of(row) + 1
    }

    /// The minutes that add up to this row: its own, and those of its window.
    pub(super) fn minutes_of(&self, row: usize) -> Range<i64> {
        let window = self.window_of(row);
        self.cuts[window.start]..self.cuts[window.end]
    }

    /// When a row begins, Unix minutes.
    pub(super) fn start_of(&self, row: usize) -> i64 {
        self.cuts[self.segment_of(row)]
    }

    /// The row that begins at this minute.
    pub(super) fn row_at(&self, start: i64) -> Option<usize> {
        self.cuts[self.first_row..self.cuts.len() - 1]
            .binary_search(&start)
            .ok()
    }

    /// A minute as the zone writes it.
    pub(super) fn local(&self, minute: i64) -> LocalTime {
        let span = self
            .offsets
            .partition_point(|(since, _)| *since <= minute)
            .saturating_sub(1);
        LocalTime {
            unix_ms: Minute(minute).start_ms(),
            offset_s: self.offsets[span].1,
        }
    }
}

/// The zone's offsets over a range: one lookup, then one step per change.
fn offsets(zone: &TimeZone, range: &Range<i64>) -> Vec<(i64, i32)> {
    let begin = Timestamp::from_second(range.start * 60).unwrap_or(Timestamp::MIN);
    let mut last = zone.to_offset(begin).seconds();
    let mut offsets = vec![(range.start, last)];
    for change in zone.following(begin) {
        let minute = change.timestamp().as_second().div_euclid(60);
        if minute >= range.end {
            break;
        }
        // Some changes are of the zone's name only.
        if change.offset().seconds() != last {
            last = change.offset().seconds();
            offsets.push((minute, last));
        }
    }
    offsets
}

/// Every stretch of one offset: from, to, offset in minutes.
fn stretches(offsets: &[(i64, i32)], to: i64) -> impl Iterator<Item = (i64, i64, i64)> + '_ {
    let ends = offsets.iter().skip(1).map(|(since, _)| *since).chain([to]);
    offsets
        .iter()
        .zip(ends)
        .map(|((since, offset_s), end)| (*since, end, i64::from(offset_s.div_euclid(60))))
}

fn hours(offsets: &[(i64, i32)], to: i64) -> Vec<i64> {
    let mut begins = Vec::new();
    for (since, end, offset) in stretches(offsets, to) {
        // Where the walk begins no hour does.
        if since != offsets[0].0 {
            begins.push(since);
        }
        let to_full_hour = 60 - (since + offset).rem_euclid(60);
        begins.extend((since + to_full_hour..end).step_by(60));
    }
    begins
}

fn days(offsets: &[(i64, i32)], to: i64) -> Vec<i64> {
    let mut begins = Vec::new();
    let mut latest = i64::MIN;
    for (since, end, offset) in stretches(offsets, to) {
        // The local minutes since the epoch, whose quotient by 1440 is the date.
        let mut local = since + offset;
        while local < end + offset {
            let date = local.div_euclid(1440);
            if date > latest {
                latest = date;
                begins.push(local - offset);
            }
            local = (date + 1) * 1440;
        }
    }
    // Where the walk begins no day does.
    begins.remove(0);
    begins
}
