//! What a query answers.
//!
//! Invariant: a row whose minutes are not all known has no counts.

use std::fmt;
use std::ops::Range;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fold::Counts;
use super::local_time::LocalTime;
use super::standing::{CountState, Standings};
use super::words::{Granularity, GroupBy, Window};
use crate::domain::counter::Counted;
use crate::domain::country::Country;
use crate::domain::device::Device;
use crate::domain::verdict::Verdict;

/// One page of an answer; the shape of the API's JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsPage {
    /// What was asked.
    pub query: QueryEcho,
    /// The page's rows, in the order of time and, within a period, of groups.
    pub rows: Vec<MetricsRow>,
    /// Sums over the whole range, whatever the page and the window.
    pub totals: MetricsTotals,
    /// How the answer is to be read.
    pub meta: MetricsMeta,
}

/// The query as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryEcho {
    /// `ad`, `campaign`, `advertiser`, `placement` or `total`.
    pub entity: String,
    /// The entity's id, a decimal string; absent for `total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// From when on, in UTC.
    pub from: LocalTime,
    /// Until when, exclusive, in UTC.
    pub to: LocalTime,
    /// How long a row is.
    pub granularity: Granularity,
    /// The columns that rows are broken down by.
    pub group_by: GroupBy,
    /// How long a time a row is the trailing sum of, if not only its own.
    pub window: Option<Window>,
    /// IANA name of the time zone.
    pub tz: String,
}

/// One row: a period, or one group of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsRow {
    /// When the period begins; `from`, where that is later.
    pub start: LocalTime,
    /// The group's device class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// The group's country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// The group's verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// All clicks; only without a breakdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross_clicks: Option<u64>,
    /// Valid clicks; by verdict: clicks of that verdict. `null` where some of them are known no more
    /// ([`CountState::Incomplete`]): then the row has no other count either.
    pub clicks: Option<u64>,
    /// Clicks that are not valid; only without a breakdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_clicks: Option<u64>,
    /// The same by verdict; only without a breakdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_by_verdict: Option<InvalidByVerdict>,
    /// Whether every minute of the row, and of its window, is proved ([`CountState::is_final`]). Live counts are not.
    pub r#final: bool,
}

/// Sums over the range, of what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricsTotals {
    /// All clicks.
    pub gross_clicks: u64,
    /// Valid clicks.
    pub clicks: u64,
    /// Clicks that are not valid.
    pub invalid_clicks: u64,
    /// Their share of all clicks, rounded to four digits; 0 where there are no clicks.
    pub invalid_click_rate: f64,
    /// Clicks that are not valid, by verdict.
    pub invalid_by_verdict: InvalidByVerdict,
    /// The first of the minutes with most valid clicks; `null` where there is no valid click.
    pub peak_minute: Option<PeakMinute>,
}

/// A minute and its valid clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakMinute {
    /// When it begins.
    pub start: LocalTime,
    /// Its valid clicks.
    pub clicks: u64,
}

/// How an answer is to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsMeta {
    /// Until when all of the range is proved, from its beginning on; `null` where its beginning is not.
    pub final_until: Option<LocalTime>,
    /// When the counts were read.
    pub as_of: LocalTime,
    /// What the counts come from.
    pub state: MetricsState,
    /// The states of the range's hours, each once.
    pub states: Vec<CountState>,
    /// Asks for the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// What an answer's counts are worth as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsState {
    /// All of the range is proved.
    Final,
    /// Nothing of it is: the counts may still grow.
    Live,
    /// Some of it is.
    Mixed,
    /// Of some of it the counts are known no more; totals are without them.
    Incomplete,
}

impl MetricsState {
    pub(super) fn of(states: &[CountState]) -> Self {
        if states.contains(&CountState::Incomplete) {
            Self::Incomplete
        } else if states.iter().all(|state| state.is_final()) {
            Self::Final
        } else if states.iter().any(|state| state.is_final()) {
            Self::Mixed
        } else {
            Self::Live
        }
    }
}

/// Clicks by invalid verdict, in the order of [`Verdict::ALL`] (the first place, `valid`, is 0). In JSON an object that
/// names only verdicts that occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InvalidByVerdict(pub [u64; Verdict::ALL.len()]);

impl InvalidByVerdict {
    /// The verdicts that occur, with their clicks.
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> + '_ {
        Verdict::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
    }

    pub(super) fn of(counts: &Counts) -> Self {
        let mut invalid = counts.0;
        invalid[0] = 0;
        Self(invalid)
    }
}

impl Serialize for InvalidByVerdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.iter()
            .try_for_each(|(verdict, count)| map.serialize_entry(verdict.as_str(), &count))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for InvalidByVerdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByVerdict;
        impl<'de> Visitor<'de> for ByVerdict {
            type Value = InvalidByVerdict;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("counts by verdict")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InvalidByVerdict, A::Error> {
                let mut counts = [0; Verdict::ALL.len()];
                while let Some((verdict, count)) = map.next_entry::<Verdict, u64>()? {
                    counts[verdict as usize] = count;
                }
                Ok(InvalidByVerdict(counts))
            }
        }
        deserializer.deserialize_map(ByVerdict)
    }
}

/// The group of a counter, packed so that numbers sort as groups do: a verdict or a device is its place in its list, so is
/// a country; device and country are the device in the upper byte. `None` for what the breakdown leaves out.
pub(super) fn group_of(group_by: GroupBy, counted: Counted) -> Option<u16> {
    let Counted::Cell(device, country) = counted else {
        return None;
    };
    match group_by {
        GroupBy::None | GroupBy::Verdict => None,
        GroupBy::Device => Some(device as u16),
        GroupBy::Country => Some(country.index().into()),
        GroupBy::DeviceCountry => Some((device as u16) << 8 | u16::from(country.index())),
    }
}

impl MetricsRow {
    pub(super) fn plain(start: LocalTime, counts: &Counts) -> Self {
        let (valid, invalid) = (counts.valid(), counts.invalid());
        Self {
            start,
            device: None,
            country: None,
            verdict: None,
            gross_clicks: Some(valid + invalid),
            clicks: Some(valid),
            invalid_clicks: Some(invalid),
            invalid_by_verdict: Some(InvalidByVerdict::of(counts)),
            r#final: false,
        }
    }

    pub(super) fn grouped(start: LocalTime, group_by: GroupBy, group: u16, clicks: u64) -> Self {
        let device = |place: u16| Device::ALL.get(usize::from(place)).copied();
        let country = |place: u16| Country::from_index(place as u8);
        let (device, country, verdict) = match group_by {
            GroupBy::None => (None, None, None),
            GroupBy::Device => (device(group), None, None),
            GroupBy::Country => (None, country(group), None),
            GroupBy::DeviceCountry => (device(group >> 8), country(group & 0xff), None),
            GroupBy::Verdict => (None, None, Verdict::ALL.get(usize::from(group)).copied()),
        };
        Self {
            start,
            device,
            country,
            verdict,
            gross_clicks: None,
            clicks: Some(clicks),
            invalid_clicks: None,
            invalid_by_verdict: None,
            r#final: false,
        }
    }

    /// The row with what is known of its minutes.
    pub(super) fn standing(self, standings: &Standings, minutes: &Range<i64>) -> Self {
        let row = Self {
            r#final: standings.are_final(minutes),
            ..self
        };
        if row.r#final || !standings.are_incomplete(minutes) {
            return row;
        }
        Self {
            gross_clicks: None,
            clicks: None,
            invalid_clicks: None,
            invalid_by_verdict: None,
            ..row
        }
    }
}
