//! What may be asked, and what is refused.
//!
//! Invariant: a [`Plan`] exists only for a question that can be answered, so nothing after it checks parameters again.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::MetricsConfig;
use super::cursor::{self, Position};
use super::words::{Granularity, GroupBy, UnsupportedBreakdown, Window};
use crate::domain::entity::Entity;
use crate::domain::time::{DAY_MS, MINUTE_MS, Minute};
use crate::ports::PortError;

/// 2000-01-01T00:00:00Z: before it some zones were not whole minutes from UTC, and there were no clicks.
const EARLIEST_MS: i64 = 946_684_800_000;
/// 2200-01-01T00:00:00Z: nobody asks for more, and the calendar's own end stays far away.
const LATEST_MS: i64 = 7_258_118_400_000;

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
    /// Most rows of this page; as many as allowed if `None`.
    pub limit: Option<usize>,
    /// Where the page before ended: its `next_cursor`.
    pub cursor: Option<String>,
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
    #[error("a range by the {} is at most {longest_days} days long", .granularity.as_str())]
    RangeTooLarge {
        /// What was asked for.
        granularity: Granularity,
        /// What is allowed.
        longest_days: u32,
    },
    /// The counts cannot be broken down like this.
    #[error(transparent)]
    UnsupportedBreakdown(#[from] UnsupportedBreakdown),
    /// The buckets could not be read.
    #[error("the counts cannot be read: {0}")]
    Store(#[from] PortError),
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
        let (Some((zone, zone_name)), Ok(window_rows), true) = (zone, window_rows, invalid.is_empty()) else {
            return Err(QueryError::InvalidParameters(invalid));
        };

        let longest_days = config.longest_days(query.granularity);
        if local_length_ms(query, &zone) > i64::from(longest_days) * DAY_MS {
            return Err(QueryError::RangeTooLarge {
                granularity: query.granularity,
                longest_days,
            });
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
            fingerprint,
            after,
        })
    }
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
fn local_length_ms(query: &MetricsQuery, zone: &TimeZone) -> i64 {
    let offset_ms =
        |ms| Timestamp::from_millisecond(ms).map_or(0, |at| i64::from(zone.to_offset(at).seconds()) * 1000);
    let elapsed = query.to_ms - query.from_ms;
    elapsed.min(elapsed + offset_ms(query.to_ms) - offset_ms(query.from_ms))
}
