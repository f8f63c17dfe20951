//! The words that queries are made of: granularities, breakdowns, windows.
//!
//! Invariant: what is written is read back as the same; every other text is refused with what it must be.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// The whole range.
    Total,
}

impl Granularity {
    /// Its name in queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Total => "total",
        }
    }

    /// How rows of this length are spoken of.
    pub(super) fn measure(self) -> &'static str {
        match self {
            Self::Minute => "by the minute",
            Self::Hour => "by the hour",
            Self::Day => "by the day",
            Self::Total => "in one row",
        }
    }

    /// Minutes of a row, where rows are alike.
    fn minutes(self) -> Option<u32> {
        match self {
            Self::Minute => Some(1),
            Self::Hour => Some(60),
            Self::Day => Some(1440),
            Self::Total => None,
        }
    }

    /// The longest sliding window, in rows: a day by the minute, 31 days by the hour, 366 days by the day.
    fn longest_window(self) -> u32 {
        match self {
            Self::Minute => 1440,
            Self::Hour => 744,
            Self::Day => 366,
            Self::Total => 0,
        }
    }
}

/// A word that is no granularity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be minute, hour, day or total")]
pub struct UnknownGranularity;

impl FromStr for Granularity {
    type Err = UnknownGranularity;
    fn from_str(text: &str) -> Result<Self, UnknownGranularity> {
        [Self::Minute, Self::Hour, Self::Day, Self::Total]
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
    /// All clicks by ad: of a campaign or an advertiser.
    Ad,
    /// All clicks of sealed hours by placement: of an advertiser.
    Placement,
}

/// A breakdown that the counts do not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedBreakdown {
    /// By these columns.
    #[error(
        "rows can be broken down by device, country, device and country, or verdict, those of campaigns and advertisers \
         by ad too, those of advertisers by placement; not by \"{0}\""
    )]
    Columns(String),
    /// By ad, of what has no ads.
    #[error("only clicks of a campaign or an advertiser can be broken down by ad")]
    AdsOf,
    /// By placement, of what is no advertiser.
    #[error("only clicks of an advertiser can be broken down by placement")]
    PlacementsOf,
    /// By verdict, and only some cells.
    #[error(
        "invalid clicks are not kept by device and country: a breakdown by verdict cannot be filtered by them"
    )]
    FilteredVerdicts,
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
            Self::Ad => &["ad"],
            Self::Placement => &["placement"],
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
            ["ad"] => Ok(Self::Ad),
            ["placement"] => Ok(Self::Placement),
            _ => Err(UnsupportedBreakdown::Columns(names.join(","))),
        }
    }

    /// Whether its rows are cells of buckets, of which only valid clicks are kept.
    pub(super) fn is_of_cells(self) -> bool {
        matches!(self, Self::Device | Self::Country | Self::DeviceCountry)
    }

    /// Whether its rows are the counts of other entities, one after another.
    pub(super) fn is_of_members(self) -> bool {
        matches!(self, Self::Ad | Self::Placement)
    }

    /// Whether its rows carry every count, not only clicks.
    pub(super) fn has_every_count(self) -> bool {
        self == Self::None || self.is_of_members()
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

impl Window {
    /// Its length in rows of this granularity, or what it must be.
    pub(super) fn rows_of(self, granularity: Granularity) -> Result<usize, String> {
        let Some(unit) = granularity.minutes() else {
            return Err("must be left out where the whole range is one row".to_owned());
        };
        let longest = granularity.longest_window();
        if !self.minutes.is_multiple_of(unit) {
            return Err(format!(
                "must be a whole number of rows, each one {}",
                granularity.as_str()
            ));
        }
        if self.minutes / unit > longest {
            return Err(format!(
                "must be at most {}",
                Window {
                    minutes: longest * unit
                }
            ));
        }
        Ok((self.minutes / unit) as usize)
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
