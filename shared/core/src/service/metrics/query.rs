//! What may be asked, and what is refused.
//!
//! Invariant: a [`Plan`] exists only for a question that can be answered, so nothing after it checks parameters again.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::MetricsConfig;
use super::cursor::{self, Position};
use crate::domain::entity::Entity;
use crate::domain::time::{DAY_MS, MINUTE_MS, Minute};
use crate::ports::PortError;

/// 2000-01-01T00:00:00Z: before it some zones were not whole minutes from UTC, and there were no clicks.
const EARLIEST_MS: i64 = 946_684_800_000;
/// 2200-01-01T00:00:00Z: nobody asks for more, and the calendar's own end stays far away.
const LATEST_MS: i64 = 7_258_118_400_000;

/// How long a row is, on the clock of the query's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// One minute.
    Minute,
    /// One hour of the local clock.
    Hour,
    /// One local day: 23 or 25 hours where the clock is changed.
    Day,
}

impl Granularity {
    /// Its name in queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    fn minutes(self) -> u32 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
            Self::Day => 1440,
        }
    }

    /// The longest sliding window, in rows: a day by the minute, 31 days by the hour, 366 days by the day.
    fn longest_window(self) -> u32 {
        match self {
            Self::Minute => 1440,
            Self::Hour => 744,
            Self::Day => 366,
        }
    }
}

/// A word that is no granularity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be minute, hour or day")]
pub struct UnknownGranularity;

impl FromStr for Granularity {
    type Err = UnknownGranularity;
    fn from_str(text: &str) -> Result<Self, UnknownGranularity> {
        [Self::Minute, Self::Hour, Self::Day]
            .into_iter()
            .find(|g| g.as_str() == text)
            .ok_or(UnknownGranularity)
    }
}

/// What rows are broken down by. In JSON the list of its columns: `[]`, `["device"]`, `["device","country"]` …
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupBy {
    /// Nothing: one row per period, with zeros where nothing was clicked.
    #[default]
    None,
    /// Valid clicks by device class.
    Device,
    /// Valid clicks by country.
    Country,
    /// Valid clicks by device class and country.
    DeviceCountry,
    /// All clicks by verdict, `valid` among them.
    Verdict,
}

/// A breakdown that the counts do not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rows can be broken down by device, country, device and country, or verdict; not by \"{asked}\"")]
pub struct UnsupportedBreakdown {
    /// What was asked for.
    pub asked: String,
}

impl GroupBy {
    /// The columns that it adds to a row, in the order of the row.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Device => &["device"],
            Self::Country => &["country"],
            Self::DeviceCountry => &["device", "country"],
            Self::Verdict => &["verdict"],
        }
    }

    /// The breakdown by these columns, in any order.
    ///
    /// # Errors
    /// [`UnsupportedBreakdown`]
    pub fn from_columns<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnsupportedBreakdown> {
        let names: Vec<&str> = names.into_iter().collect();
        match names.as_slice() {
            [] => Ok(Self::None),
            ["device"] => Ok(Self::Device),
            ["country"] => Ok(Self::Country),
            ["device", "country"] | ["country", "device"] => Ok(Self::DeviceCountry),
            ["verdict"] => Ok(Self::Verdict),
            _ => Err(UnsupportedBreakdown {
                asked: names.join(","),
            }),
        }
    }

    /// Whether it needs the cells of buckets; the others need only their totals.
    pub(super) fn needs_cells(self) -> bool {
        matches!(self, Self::Device | Self::Country | Self::DeviceCountry)
    }
}

/// Columns separated by commas, as in `group_by=device,country`; the empty text groups by nothing.
impl FromStr for GroupBy {
    type Err = UnsupportedBreakdown;
    fn from_str(text: &str) -> Result<Self, UnsupportedBreakdown> {
        if text.is_empty() {
            Ok(Self::None)
        } else {
            Self::from_columns(text.split(','))
        }
    }
}

impl Serialize for GroupBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.columns().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GroupBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Self::from_columns(names.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

/// The length of a sliding window: `15m`, `1h`, `7d`.
///
/// It must be a whole number n of rows, and each row then is the sum of its own period and the n − 1 periods before it:
/// by the minute and by the hour that is the elapsed time, by the day n local days, also where one has 23 or 25 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    minutes: u32,
}

/// A text that is no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of minutes, hours or days, such as 15m, 1h or 7d")]
pub struct BadWindow;

impl FromStr for Window {
    type Err = BadWindow;
    fn from_str(text: &str) -> Result<Self, BadWindow> {
        let (number, unit) = match text.as_bytes() {
            [number @ .., b'm'] => (number, 1),
            [number @ .., b'h'] => (number, 60),
            [number @ .., b'd'] => (number, 1440),
            _ => return Err(BadWindow),
        };
        match number {
            [b'1'..=b'9', rest @ ..] if rest.len() < 6 && rest.iter().all(u8::is_ascii_digit) => {
                let number = number.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
                Ok(Self {
                    minutes: number * unit,
                })
            }
            _ => Err(BadWindow),
        }
    }
}

/// In the largest unit that it is a whole number of.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minutes {
            minutes if minutes % 1440 == 0 => write!(f, "{}d", minutes / 1440),
            minutes if minutes % 60 == 0 => write!(f, "{}h", minutes / 60),
            minutes => write!(f, "{minutes}m"),
        }
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

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
            .map(|window| window_rows(window, query.granularity))
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

fn window_rows(window: Window, granularity: Granularity) -> Result<usize, String> {
    let (unit, longest) = (granularity.minutes(), granularity.longest_window());
    if !window.minutes.is_multiple_of(unit) {
        return Err(format!(
            "must be a whole number of rows, each one {}",
            granularity.as_str()
        ));
    }
    if window.minutes / unit > longest {
        return Err(format!(
            "must be at most {}",
            Window {
                minutes: longest * unit
            }
        ));
    }
    Ok((window.minutes / unit) as usize)
}

/// How long the range is, elapsed or on the local clock, whichever is shorter: a local October is 31 days, though the
/// clock is set back in it, and so are 31 times 24 hours in a March.
fn local_length_ms(query: &MetricsQuery, zone: &TimeZone) -> i64 {
    let offset_ms = |ms: i64| {
        Timestamp::from_millisecond(ms).map_or(0, |at| {
            SignedDuration::from_secs(zone.to_offset(at).seconds().into()).as_millis() as i64
        })
    };
    let elapsed = query.to_ms - query.from_ms;
    elapsed.min(elapsed + offset_ms(query.to_ms) - offset_ms(query.from_ms))
}
