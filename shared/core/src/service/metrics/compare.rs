//! The range that an answer is put beside.
//!
//! Invariant: it is of the same time zone, and its ends stand at the same local times of day as those of the range, wherever
//! the clock shows them.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::choice::{Compare, Order};
use super::page::{Comparison, MetricsPage};
use super::query::{InvalidParameter, MetricsQuery, QueryError};

/// The query over that range.
pub(super) fn shifted(
    query: &MetricsQuery,
    compare: Compare,
    zone: &TimeZone,
) -> Result<MetricsQuery, QueryError> {
    let refuse = |reason: &str| {
        QueryError::InvalidParameters(vec![InvalidParameter {
            parameter: "compare",
            reason: reason.to_owned(),
        }])
    };
    let (from_ms, to_ms) =
        range(query, compare, zone).ok_or_else(|| refuse("reaches beyond the calendar"))?;
    if from_ms < super::query::EARLIEST_MS {
        return Err(refuse("must not reach before the year 2000"));
    }
    Ok(MetricsQuery {
        from_ms,
        to_ms,
        compare: None,
        // Groups that are high up now need not have been so then.
        limit: query.limit.filter(|_| query.order.is_none()),
        ..query.clone()
    })
}

fn range(query: &MetricsQuery, compare: Compare, zone: &TimeZone) -> Option<(i64, i64)> {
    let local = |ms| -> Option<DateTime> { Some(zone.to_datetime(Timestamp::from_millisecond(ms).ok()?)) };
    let ms = |local: DateTime| Some(zone.to_timestamp(local).ok()?.as_millisecond());
    let (from, to) = (local(query.from_ms)?, local(query.to_ms)?);
    let length = to.duration_since(from);
    match compare {
        Compare::PreviousPeriod => {
            let before = ms(from.checked_sub(length).ok()?)?;
            // Within an hour that the clock shows twice local times say nothing: elapsed time does.
            let elapsed = query.from_ms - (query.to_ms - query.from_ms);
            Some((
                if before < query.from_ms { before } else { elapsed },
                query.from_ms,
            ))
        }
        Compare::PreviousYear => {
            let year = Span::new().try_years(1).ok()?;
            let begin = from.checked_sub(year).ok()?;
            let end = to.checked_sub(year).ok()?;
            let (from_ms, to_ms) = (ms(begin)?, ms(end)?);
            // 28 to 29 February, a year after one that had no 29th.
            let to_ms = if from_ms < to_ms {
                to_ms
            } else {
                from_ms + (query.to_ms - query.from_ms)
            };
            Some((from_ms, to_ms))
        }
    }
}

/// What is shown of the other range's page.
pub(super) fn beside(page: &MetricsPage, found: MetricsPage) -> Comparison {
    let rows = match page.query.order {
        None => found.rows,
        Some(Order::MostClicks) => {
            let mut then: BTreeMap<_, _> = found.rows.iter().map(|row| (row.group(), *row)).collect();
            page.rows
                .iter()
                .filter_map(|row| then.remove(&row.group()))
                .collect()
        }
    };
    Comparison {
        from: found.query.from,
        to: found.query.to,
        rows,
        totals: found.totals,
        meta: found.meta,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::Entity;
    use crate::service::metrics::LocalTime;

    fn beside(from: &str, to: &str, zone: &str, compare: Compare) -> (String, String) {
        let ms = |text: &str| text.parse::<LocalTime>().unwrap().unix_ms;
        let zone = TimeZone::get(zone).unwrap();
        let query = MetricsQuery::over(Entity::Total, ms(from), ms(to));
        let shifted = shifted(&query, compare, &zone).unwrap();
        let text = |ms| LocalTime {
            unix_ms: ms,
            offset_s: zone.to_offset(Timestamp::from_millisecond(ms).unwrap()).seconds(),
        };
        (text(shifted.from_ms).to_string(), text(shifted.to_ms).to_string())
    }

    #[test]
    fn the_previous_period_is_as_long_on_the_local_clock_and_ends_where_the_range_begins() {
        for (zone, from, to, before) in [
            (
                "UTC",
                "2026-01-08T00:00:00Z",
                "2026-01-15T00:00:00Z",
                "2026-01-01T00:00:00Z",
            ),
            (
                "UTC",
                "2026-01-02T10:00:00Z",
                "2026-01-02T10:07:00Z",
                "2026-01-02T09:53:00Z",
            ),
            // A local day before the one of 25 hours, and the one of 23 before another.
            (
                "Europe/Berlin",
                "2026-10-25T00:00:00+02:00",
                "2026-10-26T00:00:00+01:00",
                "2026-10-24T00:00:00+02:00",
            ),
            (
                "Europe/Berlin",
                "2026-03-30T00:00:00+02:00",
                "2026-03-31T00:00:00+02:00",
                "2026-03-29T00:00:00+01:00",
            ),
            // The hour that is shown twice: by its local times it would have no length.
            (
                "Europe/Berlin",
                "2026-10-25T02:00:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T01:00:00+02:00",
            ),
        ] {
            let found = beside(from, to, zone, Compare::PreviousPeriod);
            assert_eq!(found, (before.to_owned(), from.to_owned()), "{zone} {from}");
        }
    }

    #[test]
    fn the_previous_year_has_the_same_dates_and_local_times() {
        for (zone, from, to, expected) in [
            (
                "Europe/Berlin",
                "2026-07-01T00:00:00+02:00",
                "2026-12-01T00:00:00+01:00",
                ("2025-07-01T00:00:00+02:00", "2025-12-01T00:00:00+01:00"),
            ),
            (
                "UTC",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
                ("2023-02-01T00:00:00Z", "2023-03-01T00:00:00Z"),
            ),
            (
                "UTC",
                "2024-02-28T00:00:00Z",
                "2024-02-29T00:00:00Z",
                ("2023-02-28T00:00:00Z", "2023-03-01T00:00:00Z"),
            ),
        ] {
            let (from_then, to_then) = beside(from, to, zone, Compare::PreviousYear);
            assert_eq!((from_then.as_str(), to_then.as_str()), expected);
        }
    }

    #[test]
    fn nothing_is_compared_with_what_was_before_2000() {
        let query = MetricsQuery::over(
            Entity::Total,
            946_684_800_000 + 3_600_000,
            946_684_800_000 + 8_600_000,
        );
        for compare in [Compare::PreviousPeriod, Compare::PreviousYear] {
            match shifted(&query, compare, &TimeZone::UTC) {
                Err(QueryError::InvalidParameters(invalid)) => assert_eq!(invalid[0].parameter, "compare"),
                other => panic!("{other:?}"),
            }
        }
    }
}
