//! Putting a page together: what the fold kept, as rows, with what is known of their minutes.
//!
//! Invariant: pages read one after another, with any limits, are the rows of the whole in their order.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use super::calendar::Calendar;
use super::choice::{Metric, Metrics};
use super::cursor::{self, Position};
use super::fold::{Counts, Fold, GroupCount, Kept};
use super::local_time::LocalTime;
use super::page::{MetricsMeta, MetricsPage, MetricsState, MetricsTotals, PeakMinute, QueryEcho};
use super::part::Part;
use super::query::{MetricsQuery, Plan};
use super::row::{InvalidByVerdict, MetricsRow, Share};
use super::words::GroupBy;
use crate::domain::entity::Entity;
use crate::domain::time::Minute;

/// What was read, before it is known what it is worth.
pub(super) struct Found {
    pub(super) rows: Vec<MetricsRow>,
    /// The page's last row, where there is another page.
    pub(super) last: Option<Position>,
    pub(super) totals: Counts,
    pub(super) peak: Option<(i64, u64)>,
    /// Whether a sealed place had no item.
    pub(super) missing: bool,
}

impl Found {
    /// What one entity's fold kept.
    pub(super) fn of(part: &Part, fold: &Fold<'_>, missing: bool) -> Self {
        let Part {
            query,
            plan,
            calendar,
            first_row,
            ..
        } = part;
        let (rows, last) = match &fold.kept {
            Kept::Plain(kept) => plain_rows(plan, calendar, kept, fold.wanted.start, *first_row),
            Kept::Grouped(kept) if query.order.is_some() => {
                (ordered_rows(query.group_by, plan, calendar, kept), None)
            }
            Kept::Grouped(kept) => grouped_rows(query.group_by, plan, calendar, kept, *first_row),
        };
        Self {
            rows,
            last,
            totals: fold.totals,
            peak: fold.peak,
            missing,
        }
    }
}

/// The page, out of what was read.
pub(super) fn assemble(part: &Part, found: Found) -> MetricsPage {
    let Part {
        query,
        plan,
        calendar,
        ..
    } = part;
    let standings = &part.layout.standings;
    let mut rows = found.rows;
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
        totals: totals(calendar, &found.totals, found.peak, plan.of_totals),
        meta: MetricsMeta {
            final_until: standings
                .final_until(&range)
                .map(|until| LocalTime::utc(Minute(until).start_ms())),
            as_of: LocalTime::utc(part.as_of_ms),
            state: MetricsState::of(&states),
            states,
            next_cursor: found.last.map(|last| cursor::encode(plan.fingerprint, last)),
        },
        query: echo(query, plan),
        comparison: None,
    }
}

fn echo(query: &MetricsQuery, plan: &Plan) -> QueryEcho {
    QueryEcho {
        entity: query.entity.kind().to_owned(),
        id: match query.entity {
            Entity::Ad(id) => Some(id.to_string()),
            Entity::Campaign(id) => Some(id.to_string()),
            Entity::Advertiser(id) => Some(id.to_string()),
            Entity::Placement(id) => Some(id.to_string()),
            Entity::AdvertiserPlacement(advertiser, placement) => Some(format!("{advertiser}/{placement}")),
            Entity::Total => None,
        },
        from: LocalTime::utc(query.from_ms),
        to: LocalTime::utc(query.to_ms),
        granularity: query.granularity,
        group_by: query.group_by,
        window: query.window,
        tz: plan.zone_name.clone(),
        device: query.filter.devices,
        country: query.filter.countries,
        metrics: query.metrics,
        order: query.order,
        compare: query.compare,
        limit: query.limit,
    }
}

fn totals(calendar: &Calendar, counts: &Counts, peak: Option<(i64, u64)>, metrics: Metrics) -> MetricsTotals {
    let (valid, invalid) = (counts.valid(), counts.invalid());
    let count = |metric, count| metrics.has(metric).then_some(count);
    MetricsTotals {
        gross_clicks: count(Metric::GrossClicks, valid + invalid),
        clicks: count(Metric::Clicks, valid),
        invalid_clicks: count(Metric::InvalidClicks, invalid),
        invalid_click_rate: metrics
            .has(Metric::InvalidClickRate)
            .then(|| Share::of(invalid, valid + invalid)),
        invalid_by_verdict: metrics
            .has(Metric::InvalidByVerdict)
            .then(|| InvalidByVerdict::of(counts)),
        peak_minute: metrics.has(Metric::PeakMinute).then(|| {
            peak.map(|(minute, clicks)| PeakMinute {
                start: calendar.local(minute),
                clicks,
            })
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
        let start = calendar.local(calendar.start_of(row));
        rows.push(MetricsRow::whole(start, &sum, plan.of_rows));
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
            .filter(|(group, _)| shown.is_none_or(|shown| u64::from(**group) > shown))
        {
            if rows.len() == plan.limit {
                return (rows, last);
            }
            rows.push(MetricsRow::grouped(calendar.local(start), group_by, *group, *sum));
            last = Some(Position {
                start,
                group: (*group).into(),
            });
        }
    }
    (rows, None)
}

/// The groups of one row, those with most clicks first.
fn ordered_rows(group_by: GroupBy, plan: &Plan, calendar: &Calendar, kept: &[GroupCount]) -> Vec<MetricsRow> {
    let mut kept = kept.to_vec();
    kept.sort_unstable_by_key(|entry| (Reverse(entry.count), entry.group));
    let start = calendar.local(calendar.start_of(0));
    kept.iter()
        .take(plan.limit)
        .map(|entry| MetricsRow::grouped(start, group_by, entry.group, entry.count))
        .collect()
}
