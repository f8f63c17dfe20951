//! One row of an answer.
//!
//! Invariant: a row whose minutes are not all known has no counts.

use std::fmt;
use std::ops::Range;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::choice::{Metric, Metrics};
use super::fold::Counts;
use super::local_time::LocalTime;
use super::standing::Standings;
use super::words::GroupBy;
use crate::domain::counter::Counted;
use crate::domain::country::Country;
use crate::domain::device::Device;
use crate::domain::entity::Entity;
use crate::domain::ids::{AdId, PlacementId};
use crate::domain::verdict::Verdict;

/// One row: a period, or one group of it.
///
/// In JSON a count that was not asked for is left out. Where the row's minutes are not all known no count is there but
/// `"clicks": null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct MetricsRow {
    /// When the period begins; `from`, where that is later.
    pub start: LocalTime,
    /// The group's ad.
    #[serde(default)]
    pub ad: Option<AdId>,
    /// The group's placement.
    #[serde(default)]
    pub placement: Option<PlacementId>,
    /// The group's device class.
    #[serde(default)]
    pub device: Option<Device>,
    /// The group's country.
    #[serde(default)]
    pub country: Option<Country>,
    /// The group's verdict.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// All clicks; only without a breakdown, or by ad or placement, and without a filter.
    #[serde(default)]
    pub gross_clicks: Option<u64>,
    /// Valid clicks; by verdict: clicks of that verdict.
    #[serde(default)]
    pub clicks: Option<u64>,
    /// Clicks that are not valid; where gross clicks are.
    #[serde(default)]
    pub invalid_clicks: Option<u64>,
    /// Their share of all clicks; where gross clicks are, and only if it was asked for.
    #[serde(default)]
    pub invalid_click_rate: Option<Share>,
    /// Clicks that are not valid by verdict; where gross clicks are.
    #[serde(default)]
    pub invalid_by_verdict: Option<InvalidByVerdict>,
    /// Whether every minute of the row, and of its window, is proved ([`CountState::is_final`](super::CountState::is_final)). Live counts are not.
    pub r#final: bool,
}

/// What tells a row from the others of its period.
pub type Group = (
    Option<AdId>,
    Option<PlacementId>,
    Option<Device>,
    Option<Country>,
    Option<Verdict>,
);

/// A share of one, in ten-thousandths; in JSON a number of at most four digits behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Share(u16);

impl Share {
    /// What `part` is of `whole`, rounded half up, so that the digits do not depend on floating point; 0 of nothing.
    pub(super) fn of(part: u64, whole: u64) -> Self {
        let share = (u128::from(part) * 10_000 + u128::from(whole) / 2)
            .checked_div(whole.into())
            .unwrap_or(0);
        Self(u16::try_from(share).unwrap_or(10_000))
    }

    /// As a number from 0 to 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(f)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&share) {
            Ok(Self((share * 10_000.0).round() as u16))
        } else {
            Err(serde::de::Error::custom("not a share of one"))
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
        GroupBy::None | GroupBy::Verdict | GroupBy::Ad | GroupBy::Placement => None,
        GroupBy::Device => Some(device as u16),
        GroupBy::Country => Some(country.index().into()),
        GroupBy::DeviceCountry => Some((device as u16) << 8 | u16::from(country.index())),
    }
}

impl MetricsRow {
    fn empty(start: LocalTime) -> Self {
        Self {
            start,
            ad: None,
            placement: None,
            device: None,
            country: None,
            verdict: None,
            gross_clicks: None,
            clicks: None,
            invalid_clicks: None,
            invalid_click_rate: None,
            invalid_by_verdict: None,
            r#final: false,
        }
    }

    /// A row of every count, of which these are wanted.
    pub(super) fn whole(start: LocalTime, counts: &Counts, metrics: Metrics) -> Self {
        let (valid, invalid) = (counts.valid(), counts.invalid());
        let count = |metric, count| metrics.has(metric).then_some(count);
        Self {
            gross_clicks: count(Metric::GrossClicks, valid + invalid),
            clicks: count(Metric::Clicks, valid),
            invalid_clicks: count(Metric::InvalidClicks, invalid),
            invalid_click_rate: metrics
                .has(Metric::InvalidClickRate)
                .then(|| Share::of(invalid, valid + invalid)),
            invalid_by_verdict: metrics
                .has(Metric::InvalidByVerdict)
                .then(|| InvalidByVerdict::of(counts)),
            ..Self::empty(start)
        }
    }

    /// The row as one of this ad's, or of this placement's.
    pub(super) fn of_member(self, member: Entity) -> Self {
        match member {
            Entity::Ad(id) => Self { ad: Some(id), ..self },
            Entity::AdvertiserPlacement(_, id) | Entity::Placement(id) => Self {
                placement: Some(id),
                ..self
            },
            Entity::Campaign(_) | Entity::Advertiser(_) | Entity::Total => self,
        }
    }

    /// A row of one group's clicks.
    pub(super) fn grouped(start: LocalTime, group_by: GroupBy, group: u16, clicks: u64) -> Self {
        let device = |place: u16| Device::ALL.get(usize::from(place)).copied();
        let country = |place: u16| Country::from_index(place as u8);
        let row = Self {
            clicks: Some(clicks),
            ..Self::empty(start)
        };
        match group_by {
            GroupBy::None | GroupBy::Ad | GroupBy::Placement => row,
            GroupBy::Device => Self {
                device: device(group),
                ..row
            },
            GroupBy::Country => Self {
                country: country(group),
                ..row
            },
            GroupBy::DeviceCountry => Self {
                device: device(group >> 8),
                country: country(group & 0xff),
                ..row
            },
            GroupBy::Verdict => Self {
                verdict: Verdict::ALL.get(usize::from(group)).copied(),
                ..row
            },
        }
    }

    /// What tells it from the other rows of its period.
    pub fn group(&self) -> Group {
        (self.ad, self.placement, self.device, self.country, self.verdict)
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
            invalid_click_rate: None,
            invalid_by_verdict: None,
            ..row
        }
    }
}

impl Serialize for MetricsRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A row that is known has one count at least.
        let unknown = self.gross_clicks.is_none()
            && self.clicks.is_none()
            && self.invalid_clicks.is_none()
            && self.invalid_click_rate.is_none()
            && self.invalid_by_verdict.is_none();
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("start", &self.start)?;
        entry(&mut row, "ad", self.ad.as_ref())?;
        entry(&mut row, "placement", self.placement.as_ref())?;
        entry(&mut row, "device", self.device.as_ref())?;
        entry(&mut row, "country", self.country.as_ref())?;
        entry(&mut row, "verdict", self.verdict.as_ref())?;
        entry(&mut row, "gross_clicks", self.gross_clicks.as_ref())?;
        if unknown || self.clicks.is_some() {
            row.serialize_entry("clicks", &self.clicks)?;
        }
        entry(&mut row, "invalid_clicks", self.invalid_clicks.as_ref())?;
        entry(&mut row, "invalid_click_rate", self.invalid_click_rate.as_ref())?;
        entry(&mut row, "invalid_by_verdict", self.invalid_by_verdict.as_ref())?;
        row.serialize_entry("final", &self.r#final)?;
        row.end()
    }
}

fn entry<M: SerializeMap, T: Serialize>(map: &mut M, name: &str, value: Option<&T>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, value))
}
