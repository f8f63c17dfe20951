//! Putting a page together: what the fold kept, as rows, with what is known of their minutes.
//!
//! Invariant: pages read one after another, with any limits, are the rows of the whole in their order.

use std::collections::BTreeMap;
use std::ops::Range;

use super::calendar::Calendar;
use super::cursor::{self, Position};
use super::fold::{Counts, Fold, GroupCount, Kept};
use super::local_time::LocalTime;
use super::page::{
    InvalidByVerdict, MetricsMeta, MetricsPage, MetricsRow, MetricsState, MetricsTotals, PeakMinute,
    QueryEcho,
};
use super::query::{MetricsQuery, Plan};
use super::standing::Standings;
use super::words::GroupBy;
use crate::domain::entity::Entity;
use crate::domain::time::Minute;

/// The page, out of what the fold kept.
pub(super) fn assemble(
    query: &MetricsQuery,
    plan: Plan,
    calendar: &Calendar,
    fold: &Fold<'_>,
    standings: &Standings,
    first_row: usize,
    as_of_ms: i64,
) -> MetricsPage {
    let (mut rows, last) = match &fold.kept {
        Kept::Plain(kept) => plain_rows(&plan, calendar, kept, fold.wanted.start, first_row),
        Kept::Grouped(kept) => grouped_rows(query.group_by, &plan, calendar, kept, first_row),
    };
    let mut known: Option<(i64, Range<i64>)> = None;
    for row in &mut rows {
        let start = Minute::of(row.start.unix_ms).0;
        // Groups of one period follow each other.
        let minutes = match known.take() {
            Some((same, minutes)) if same == start => minutes,
            _ => calendar
                .row_at(start)
                .map_or(start..start + 1, |row| calendar.minutes_of(row)),
        };
        *row = row.standing(standings, &minutes);
        known = Some((start, minutes));
    }
    let range = plan.from..plan.to;
    let states = standings.states(&range);
    MetricsPage {
        rows,
        totals: totals(calendar, fold),
        meta: MetricsMeta {
            final_until: standings
                .final_until(&range)
                .map(|until| LocalTime::utc(Minute(until).start_ms())),
            as_of: LocalTime::utc(as_of_ms),
            state: MetricsState::of(&states),
            states,
            next_cursor: last.map(|last| cursor::encode(plan.fingerprint, last)),
        },
        query: QueryEcho {
            entity: query.entity.kind().to_owned(),
            id: match query.entity {
                Entity::Ad(id) => Some(id.to_string()),
                Entity::Campaign(id) => Some(id.to_string()),
                Entity::Advertiser(id) => Some(id.to_string()),
                Entity::Placement(id) => Some(id.to_string()),
                Entity::Total => None,
            },
            from: LocalTime::utc(query.from_ms),
            to: LocalTime::utc(query.to_ms),
            granularity: query.granularity,
            group_by: query.group_by,
            window: query.window,
            tz: plan.zone_name,
        },
    }
}

fn totals(calendar: &Calendar, fold: &Fold<'_>) -> MetricsTotals {
    let (valid, invalid) = (fold.totals.valid(), fold.totals.invalid());
    let gross = valid + invalid;
    // In whole ten-thousandths, rounded half up, so that the digits do not depend on floating point.
    let rate = (u128::from(invalid) * 10_000 + u128::from(gross) / 2)
        .checked_div(gross.into())
        .unwrap_or(0);
    MetricsTotals {
        gross_clicks: gross,
        clicks: valid,
        invalid_clicks: invalid,
        invalid_click_rate: rate as f64 / 10_000.0,
        invalid_by_verdict: InvalidByVerdict::of(&fold.totals),
        peak_minute: fold.peak.map(|(minute, clicks)| PeakMinute {
            start: calendar.local(minute),
            clicks,
        }),
    }
}

/// Rows without a breakdown: every period of the page, whether anything was clicked in it or not.
fn plain_rows(
    plan: &Plan,
    calendar: &Calendar,
    kept: &[Counts],
    kept_from: usize,
    first_row: usize,
) -> (Vec<MetricsRow>, Option<Position>) {
    let end = first_row.saturating_add(plan.limit).min(calendar.rows());
    let mut rows = Vec::with_capacity(end.saturating_sub(first_row));
    let mut sum = Counts::default();
    let (mut dropped, mut added) = (kept_from, kept_from);
    for row in first_row..end {
        let window = calendar.window_of(row);
        kept[added - kept_from..window.end - kept_from]
            .iter()
            .for_each(|counts| sum.add(counts));
        kept[dropped - kept_from..window.start - kept_from]
            .iter()
            .for_each(|counts| sum.subtract(counts));
        (dropped, added) = (window.start, window.end);
        rows.push(MetricsRow::plain(calendar.local(calendar.start_of(row)), &sum));
    }
    let last = (end < calendar.rows()).then(|| Position {
        start: calendar.start_of(end - 1),
        group: 0,
    });
    (rows, last)
}

/// Rows of a breakdown: only groups that occur.
fn grouped_rows(
    group_by: GroupBy,
    plan: &Plan,
    calendar: &Calendar,
    kept: &[GroupCount],
    first_row: usize,
) -> (Vec<MetricsRow>, Option<Position>) {
    let mut rows = Vec::new();
    let mut last = None;
    let mut sums: BTreeMap<u16, u64> = BTreeMap::new();
    let (mut dropped, mut added) = (0, 0);
    for row in first_row..calendar.rows() {
        let window = calendar.window_of(row);
        while let Some(entry) = kept.get(added).filter(|entry| entry.segment < window.end) {
            *sums.entry(entry.group).or_default() += entry.count;
            added += 1;
        }
        while let Some(entry) = kept.get(dropped).filter(|entry| entry.segment < window.start) {
            if let Some(sum) = sums.get_mut(&entry.group) {
                *sum -= entry.count;
                if *sum == 0 {
                    sums.remove(&entry.group);
                }
            }
            dropped += 1;
        }
        let start = calendar.start_of(row);
        let shown = plan
            .after
            .filter(|after| after.start == start)
            .map(|after| after.group);
        for (group, sum) in sums
            .iter()
            .filter(|(group, _)| shown.is_none_or(|shown| **group > shown))
        {
            if rows.len() == plan.limit {
                return (rows, last);
            }
            rows.push(MetricsRow::grouped(calendar.local(start), group_by, *group, *sum));
            last = Some(Position { start, group: *group });
        }
    }
    (rows, None)
}
