//! What may be asked, and what is refused.
//!
//! Invariant: a [`Plan`] exists only for a question that can be answered, so nothing after it checks parameters again.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::MetricsConfig;
use super::choice::{CellFilter, Compare, Metric, Metrics, Order};
use super::cursor::{self, Position};
use super::words::{Granularity, GroupBy, UnsupportedBreakdown, Window};
use crate::domain::entity::Entity;
use crate::domain::ids::AdId;
use crate::domain::time::{DAY_MS, MINUTE_MS, Minute};
use crate::ports::PortError;

/// 2000-01-01T00:00:00Z: before it some zones were not whole minutes from UTC, and there were no clicks.
pub(super) const EARLIEST_MS: i64 = 946_684_800_000;
/// 2200-01-01T00:00:00Z: nobody asks for more, and the calendar's own end stays far away.
const LATEST_MS: i64 = 7_258_118_400_000;
/// The longest filtered range whose peak minute is looked for, days: it is only in the items of hours.
const FILTERED_PEAK_DAYS: i64 = 31;

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsQuery {
    /// Whose clicks.
    pub entity: Entity,
    /// From when on, Unix milliseconds, a whole minute.
    pub from_ms: i64,
    /// Until when, exclusive, Unix milliseconds, a whole minute.
    pub to_ms: i64,
    /// How long a row is.
    pub granularity: Granularity,
    /// What rows are broken down by.
    pub group_by: GroupBy,
    /// Whether rows are trailing sums, and over how long.
    pub window: Option<Window>,
    /// IANA name of the zone whose days and hours are meant, such as `Europe/Berlin`; `UTC` is one of them.
    pub time_zone: String,
    /// Only valid clicks of these cells.
    pub filter: CellFilter,
    /// What rows and totals carry; what they have, if `None`.
    pub metrics: Option<Metrics>,
    /// An order of rows other than their own: then the page is the first `limit` of them, and there is no other.
    pub order: Option<Order>,
    /// The range that the answer is put beside.
    pub compare: Option<Compare>,
    /// Of [`GroupBy::Ad`]: which ads there are, in the order of their ids. Whoever asks knows them, counts do not.
    pub ads: Vec<AdId>,
    /// Most rows of this page; as many as allowed if `None`.
    pub limit: Option<usize>,
    /// Where the page before ended: its `next_cursor`.
    pub cursor: Option<String>,
}

impl MetricsQuery {
    /// A range of an entity's clicks, by the hour in UTC.
    pub fn over(entity: Entity, from_ms: i64, to_ms: i64) -> Self {
        Self {
            entity,
            from_ms,
            to_ms,
            granularity: Granularity::Hour,
            group_by: GroupBy::None,
            window: None,
            time_zone: "UTC".to_owned(),
            filter: CellFilter::default(),
            metrics: None,
            order: None,
            compare: None,
            ads: Vec::new(),
            limit: None,
            cursor: None,
        }
    }

    /// Whether counts must be read with their cells; else their totals do.
    pub(super) fn needs_cells(&self) -> bool {
        self.group_by.is_of_cells() || self.filter.is_set()
    }
}

/// A parameter that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{parameter} {reason}")]
pub struct InvalidParameter {
    /// Its name in queries.
    pub parameter: &'static str,
    /// What it must be: the end of a sentence that begins with the name.
    pub reason: String,
}

/// Why a question has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// These parameters cannot be accepted.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    InvalidParameters(Vec<InvalidParameter>),
    /// From `from` to `to` is longer than this granularity allows.
    #[error("a range {} is at most {longest_days} days long", .granularity.measure())]
    RangeTooLarge {
        /// What was asked for.
        granularity: Granularity,
        /// What is allowed.
        longest_days: u32,
    },
    /// There are more ads, or placements, than one answer tells apart.
    #[error(
        "a breakdown by {0} is of at most {most} {0}s, and there are more: ask for {1}", column(*.group_by), instead(*.group_by)
    )]
    TooManyMembers {
        /// By which of them.
        group_by: GroupBy,
        /// What is allowed.
        most: usize,
    },
    /// Each one's range is one to be read.
    #[error(
        "a breakdown by {0} {1} reads at most {most} days, one for each {0} and day, and {members} {0}s over {days} days are \
         more: ask for {2}", column(*.group_by), .granularity.measure(), shorter(*.group_by)
    )]
    TooManyMemberDays {
        /// By ad, or by placement.
        group_by: GroupBy,
        /// How long rows are.
        granularity: Granularity,
        /// How many ads or placements there are.
        members: usize,
        /// How long the range is.
        days: i64,
        /// What is allowed.
        most: u32,
    },
    /// The counts cannot be broken down like this.
    #[error(transparent)]
    UnsupportedBreakdown(#[from] UnsupportedBreakdown),
    /// The buckets could not be read.
    #[error("the counts cannot be read: {0}")]
    Store(#[from] PortError),
}

fn column(group_by: GroupBy) -> &'static str {
    group_by.columns().first().copied().unwrap_or_default()
}

/// What may be asked where there are too many.
fn instead(group_by: GroupBy) -> &'static str {
    match group_by {
        GroupBy::Placement => "a shorter range",
        _ => "one campaign, or for single ads",
    }
}

/// What may be asked where they are too many for the range.
fn shorter(group_by: GroupBy) -> &'static str {
    match group_by {
        GroupBy::Placement => "a shorter range, or for longer rows",
        _ => "a shorter range, for longer rows, or for one campaign",
    }
}

/// A question that can be answered. Times are Unix minutes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) zone: TimeZone,
    /// The zone's name in its usual spelling.
    pub(super) zone_name: String,
    pub(super) from: i64,
    pub(super) to: i64,
    /// The window in rows.
    pub(super) window_rows: Option<usize>,
    pub(super) limit: usize,
    /// What rows carry.
    pub(super) of_rows: Metrics,
    /// What totals carry.
    pub(super) of_totals: Metrics,
    /// Whether sealed days may be read: not where single minutes are needed that they do not hold.
    pub(super) by_days: bool,
    pub(super) fingerprint: cursor::Fingerprint,
    pub(super) after: Option<Position>,
}

impl Plan {
    /// Checks everything that can be wrong with a query, and names all that is.
    pub(super) fn new(query: &MetricsQuery, config: &MetricsConfig) -> Result<Self, QueryError> {
        let mut invalid = Vec::new();
        let mut refuse = |parameter, reason: String| invalid.push(InvalidParameter { parameter, reason });

        for (parameter, ms) in [("from", query.from_ms), ("to", query.to_ms)] {
            if !(EARLIEST_MS..=LATEST_MS).contains(&ms) {
                refuse(parameter, "must lie between the years 2000 and 2200".to_owned());
            } else if ms % MINUTE_MS != 0 {
                refuse(parameter, "must be a whole minute".to_owned());
            }
        }
        if query.from_ms >= query.to_ms {
            refuse("to", "must be after from".to_owned());
        }
        let zone = zone_of(&query.time_zone);
        if zone.is_none() {
            refuse(
                "tz",
                "must be the IANA name of a time zone, such as Europe/Berlin or UTC".to_owned(),
            );
        }
        let window_rows = query
            .window
            .map(|window| window.rows_of(query.granularity))
            .transpose();
        if let Err(reason) = &window_rows {
            refuse("window", reason.clone());
        }
        let limit = query.limit.unwrap_or(config.max_page_rows);
        if !(1..=config.max_page_rows).contains(&limit) {
            refuse("limit", format!("must be from 1 to {}", config.max_page_rows));
        }
        if query.order.is_some() {
            if query.granularity != Granularity::Total || query.group_by == GroupBy::None {
                refuse("order", "is for granularity=total with a group_by".to_owned());
            }
            if query.cursor.is_some() {
                refuse(
                    "cursor",
                    "is not for ordered rows: their first page is the only one".to_owned(),
                );
            }
        }
        if query.compare.is_some() && query.cursor.is_some() {
            refuse(
                "compare",
                "is for the first page: leave it out with a cursor".to_owned(),
            );
        }
        let shape = shape(query);
        if let Err(reason) = &shape {
            refuse("metrics", (*reason).to_owned());
        }
        let (Some((zone, zone_name)), Ok(window_rows), Ok((of_rows, mut of_totals)), true) =
            (zone, window_rows, shape, invalid.is_empty())
        else {
            return Err(QueryError::InvalidParameters(invalid));
        };
        breakdown(query)?;
        let length_ms = local_length_ms(query, &zone);
        check_length(query, config, length_ms)?;
        if query.filter.is_set() && length_ms > FILTERED_PEAK_DAYS * DAY_MS {
            of_totals = of_totals.and(Metrics::CLICKS);
        }
        let fingerprint = cursor::fingerprint(query, &zone_name);
        let after = match &query.cursor {
            None => None,
            Some(text) => Some(cursor::decode(text, fingerprint).map_err(bad_cursor)?),
        };
        let (from, to) = (Minute::of(query.from_ms).0, Minute::of(query.to_ms).0);
        Ok(Self {
            zone,
            zone_name,
            from,
            to,
            window_rows,
            limit,
            of_rows,
            of_totals,
            by_days: !(query.filter.is_set() && of_totals.has(Metric::PeakMinute)),
            fingerprint,
            after,
        })
    }
}

/// What rows carry of what was asked for.
pub(super) fn metrics_of_rows(group_by: GroupBy, filtered: bool, asked: Option<Metrics>) -> Metrics {
    use Metric::{Clicks, GrossClicks, InvalidByVerdict, InvalidClickRate, InvalidClicks};
    // The rate of a row is told where it is asked for.
    let usual = Metrics::of(&[GrossClicks, Clicks, InvalidClicks, InvalidByVerdict]);
    if filtered || !group_by.has_every_count() {
        Metrics::CLICKS.and(asked.unwrap_or(usual))
    } else {
        asked.map_or(usual, |asked| asked.and(usual.or(InvalidClickRate)))
    }
}

/// What rows and totals carry, or what `metrics` must be.
fn shape(query: &MetricsQuery) -> Result<(Metrics, Metrics), &'static str> {
    let filtered = query.filter.is_set();
    let rows = metrics_of_rows(query.group_by, filtered, query.metrics);
    let totals = if filtered {
        Metrics::CLICKS.or(Metric::PeakMinute)
    } else {
        Metrics::ALL
    };
    let asked = query.metrics.unwrap_or(totals);
    if asked.and(totals) != asked {
        return Err(
            "can only be clicks and peak_minute where device or country are given: invalid clicks are not kept by them",
        );
    }
    if rows.is_empty() {
        return Err(if filtered || !query.group_by.has_every_count() {
            "must contain clicks: rows carry no other count here"
        } else {
            "must contain something that rows carry: peak_minute is of totals alone"
        });
    }
    Ok((rows, asked))
}

/// Whether the counts hold this breakdown.
fn breakdown(query: &MetricsQuery) -> Result<(), UnsupportedBreakdown> {
    let has_ads = matches!(query.entity, Entity::Campaign(_) | Entity::Advertiser(_));
    match query.group_by {
        GroupBy::Ad if !has_ads => Err(UnsupportedBreakdown::AdsOf),
        GroupBy::Placement if !matches!(query.entity, Entity::Advertiser(_)) => {
            Err(UnsupportedBreakdown::PlacementsOf)
        }
        GroupBy::Verdict if query.filter.is_set() => Err(UnsupportedBreakdown::FilteredVerdicts),
        _ => Ok(()),
    }
}

fn check_length(query: &MetricsQuery, config: &MetricsConfig, length_ms: i64) -> Result<(), QueryError> {
    let granularity = query.granularity;
    let longest_days = config.longest_days(granularity);
    if length_ms > i64::from(longest_days) * DAY_MS {
        return Err(QueryError::RangeTooLarge {
            granularity,
            longest_days,
        });
    }
    match query.group_by {
        GroupBy::Ad => check_members(query, config, length_ms, query.ads.len()),
        _ => Ok(()),
    }
}

/// Whether so many ads or placements can be told apart over this length of time.
pub(super) fn check_members(
    query: &MetricsQuery,
    config: &MetricsConfig,
    length_ms: i64,
    members: usize,
) -> Result<(), QueryError> {
    let MetricsQuery {
        group_by,
        granularity,
        ..
    } = *query;
    if members > config.max_ads {
        return Err(QueryError::TooManyMembers {
            group_by,
            most: config.max_ads,
        });
    }
    let days = (length_ms + DAY_MS - 1) / DAY_MS;
    let most = config.most_ad_days(granularity);
    if members as i64 * days > i64::from(most) {
        return Err(QueryError::TooManyMemberDays {
            group_by,
            granularity,
            members,
            days,
            most,
        });
    }
    Ok(())
}

/// The refusal of a cursor.
pub(super) fn bad_cursor(error: cursor::BadCursor) -> QueryError {
    let invalid = InvalidParameter {
        parameter: "cursor",
        reason: error.to_string(),
    };
    QueryError::InvalidParameters(vec![invalid])
}

fn zone_of(name: &str) -> Option<(TimeZone, String)> {
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown())?;
    let name = zone.iana_name()?.to_owned();
    Some((zone, name))
}

/// How long the range is, elapsed or on the local clock, whichever is shorter: a local October is 31 days, though the
/// clock is set back in it, and so are 31 times 24 hours in a March.
pub(super) fn local_length_ms(query: &MetricsQuery, zone: &TimeZone) -> i64 {
    let offset_ms =
        |ms| Timestamp::from_millisecond(ms).map_or(0, |at| i64::from(zone.to_offset(at).seconds()) * 1000);
    let elapsed = query.to_ms - query.from_ms;
    elapsed.min(elapsed + offset_ms(query.to_ms) - offset_ms(query.from_ms))
}
