//! What of the counts is wanted: which metrics, of which cells, in which order, and beside which other range.
//!
//! Invariant: what is written is read back as the same; a word that is not on a list, or stands there twice, is refused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::country::Country;
use crate::domain::device::Device;

/// One thing that rows and totals may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// All clicks.
    GrossClicks,
    /// Valid clicks.
    Clicks,
    /// Clicks that are not valid.
    InvalidClicks,
    /// Their share of all clicks.
    InvalidClickRate,
    /// Clicks that are not valid, by verdict.
    InvalidByVerdict,
    /// The first of the minutes with most valid clicks; of totals only.
    PeakMinute,
}

impl Metric {
    /// Every metric, in the order of rows.
    pub const ALL: [Self; 6] = [
        Self::GrossClicks,
        Self::Clicks,
        Self::InvalidClicks,
        Self::InvalidClickRate,
        Self::InvalidByVerdict,
        Self::PeakMinute,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GrossClicks => "gross_clicks",
            Self::Clicks => "clicks",
            Self::InvalidClicks => "invalid_clicks",
            Self::InvalidClickRate => "invalid_click_rate",
            Self::InvalidByVerdict => "invalid_by_verdict",
            Self::PeakMinute => "peak_minute",
        }
    }
}

/// A list of words that cannot be accepted: the end of a sentence that begins with the parameter's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadList(String);

/// Reads a list of words separated by commas.
fn words<T: PartialEq>(text: &str, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, BadList> {
    let mut found = Vec::new();
    for word in text.split(',') {
        let Some(word) = read(word) else {
            return Err(BadList(format!("must be {what}, separated by commas")));
        };
        if found.contains(&word) {
            return Err(BadList("must name nothing twice".to_owned()));
        }
        found.push(word);
    }
    Ok(found)
}

/// A choice of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Metrics(u8);

impl Metrics {
    pub(super) const ALL: Self = Self(0b11_1111);
    pub(super) const CLICKS: Self = Self(1 << Metric::Clicks as u8);

    /// Whether this one is among them.
    pub fn has(self, metric: Metric) -> bool {
        self.0 >> metric as u8 & 1 == 1
    }

    /// Whether none is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn of(metrics: &[Metric]) -> Self {
        Self(metrics.iter().fold(0, |all, metric| all | 1 << *metric as u8))
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, metric: Metric) -> Self {
        Self(self.0 | 1 << metric as u8)
    }

    /// In the order of rows.
    pub fn iter(self) -> impl Iterator<Item = Metric> {
        Metric::ALL.into_iter().filter(move |metric| self.has(*metric))
    }
}

impl FromStr for Metrics {
    type Err = BadList;
    fn from_str(text: &str) -> Result<Self, BadList> {
        let what = Metric::ALL.map(Metric::as_str).join(", ");
        let named = |word: &str| Metric::ALL.into_iter().find(|metric| metric.as_str() == word);
        words(text, &format!("some of {what}"), named).map(|metrics| Self::of(&metrics))
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Metric::as_str))
    }
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        joined(deserializer)
    }
}

/// A list in JSON, read as its words with commas between them.
fn joined<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    Vec::<String>::deserialize(deserializer)?
        .join(",")
        .parse()
        .map_err(serde::de::Error::custom)
}

/// Device classes, each at most once, in the order of the closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Devices(u8);

impl Devices {
    /// The classes.
    pub fn iter(self) -> impl Iterator<Item = Device> {
        Device::ALL
            .into_iter()
            .filter(move |device| self.0 >> *device as u8 & 1 == 1)
    }
}

impl FromStr for Devices {
    type Err = BadList;
    fn from_str(text: &str) -> Result<Self, BadList> {
        let what = format!("some of {}", Device::ALL.map(Device::as_str).join(", "));
        let found = words(text, &what, |word| word.parse::<Device>().ok())?;
        Ok(Self(
            found.into_iter().fold(0, |all, device| all | 1 << device as u8),
        ))
    }
}

impl Serialize for Devices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        joined(deserializer)
    }
}

/// Countries, each at most once, in the order of the closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Countries([u64; 4]);

impl Countries {
    fn has(self, country: Country) -> bool {
        let place = usize::from(country.index());
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    /// The countries.
    pub fn iter(self) -> impl Iterator<Item = Country> {
        (0..=u8::MAX)
            .filter_map(Country::from_index)
            .filter(move |country| self.has(*country))
    }
}

impl FromStr for Countries {
    type Err = BadList;
    fn from_str(text: &str) -> Result<Self, BadList> {
        let what = "countries of ISO 3166-1 alpha-2 in capital letters, or ZZ";
        let found = words(text, what, |word| Country::from_code(word.as_bytes()))?;
        let mut all = [0; 4];
        for country in found {
            let place = usize::from(country.index());
            all[place / 64] |= 1 << (place % 64);
        }
        Ok(Self(all))
    }
}

impl Serialize for Countries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|country| country.as_str()))
    }
}

impl<'de> Deserialize<'de> for Countries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        joined(deserializer)
    }
}

/// Only valid clicks of these cells. Invalid clicks are not kept by cell, so there are none in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CellFilter {
    /// Of these device classes; of any, if `None`.
    pub devices: Option<Devices>,
    /// Of these countries; of any, if `None`.
    pub countries: Option<Countries>,
}

impl CellFilter {
    /// Whether anything is left out.
    pub fn is_set(&self) -> bool {
        self.devices.is_some() || self.countries.is_some()
    }

    pub(super) fn takes(&self, device: Device, country: Country) -> bool {
        self.devices
            .is_none_or(|devices| devices.0 >> device as u8 & 1 == 1)
            && self.countries.is_none_or(|countries| countries.has(country))
    }
}

/// An order of rows other than that of time and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Order {
    /// The most clicks first; groups of as many in their own order.
    #[serde(rename = "-clicks")]
    MostClicks,
}

/// A word that is no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be -clicks")]
pub struct UnknownOrder;

impl Order {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MostClicks => "-clicks",
        }
    }
}

impl FromStr for Order {
    type Err = UnknownOrder;
    fn from_str(text: &str) -> Result<Self, UnknownOrder> {
        match text {
            "-clicks" => Ok(Self::MostClicks),
            _ => Err(UnknownOrder),
        }
    }
}

/// The range that an answer is put beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// The one that ends where the range begins, as long on the local clock.
    PreviousPeriod,
    /// The same dates and local times of the year before; 28 February for a 29th that there was not.
    PreviousYear,
}

/// A word that names no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be previous_period or previous_year")]
pub struct UnknownComparison;

impl Compare {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreviousPeriod => "previous_period",
            Self::PreviousYear => "previous_year",
        }
    }
}

impl FromStr for Compare {
    type Err = UnknownComparison;
    fn from_str(text: &str) -> Result<Self, UnknownComparison> {
        [Self::PreviousPeriod, Self::PreviousYear]
            .into_iter()
            .find(|compare| compare.as_str() == text)
            .ok_or(UnknownComparison)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_any_order_and_written_in_their_own() {
        let json = |value: serde_json::Result<serde_json::Value>| value.unwrap();
        let metrics: Metrics = "peak_minute,clicks".parse().unwrap();
        let devices: Devices = "unknown,mobile".parse().unwrap();
        let countries: Countries = "ZZ,FR,AD".parse().unwrap();
        for (written, expected) in [
            (
                serde_json::to_value(metrics),
                serde_json::json!(["clicks", "peak_minute"]),
            ),
            (
                serde_json::to_value(devices),
                serde_json::json!(["mobile", "unknown"]),
            ),
            (
                serde_json::to_value(countries),
                serde_json::json!(["AD", "FR", "ZZ"]),
            ),
        ] {
            assert_eq!(json(written), expected);
        }
        assert_eq!(Metrics::ALL.iter().count(), Metric::ALL.len());
        let all = Device::ALL.map(Device::as_str).join(",");
        assert_eq!(all.parse::<Devices>().unwrap().iter().count(), 7);
    }

    #[test]
    fn what_is_on_no_list_or_stands_twice_is_refused() {
        for bad in [
            "",
            "clicks,",
            "clicks,clicks",
            "Clicks",
            "cost",
            " clicks",
            "clicks;bot",
        ] {
            assert!(bad.parse::<Metrics>().is_err(), "{bad:?}");
        }
        for bad in ["", "phone", "mobile,mobile", "mobile,", "Mobile", "mobile tablet"] {
            assert!(bad.parse::<Devices>().is_err(), "{bad:?}");
        }
        for bad in ["", "de", "DEU", "XX", "DE,DE", "DE,", "D\0", "ÄÖ"] {
            assert!(bad.parse::<Countries>().is_err(), "{bad:?}");
        }
        for bad in ["", "clicks", "+clicks", "-gross_clicks"] {
            assert!(bad.parse::<Order>().is_err(), "{bad:?}");
        }
        for bad in ["", "previous", "last_year"] {
            assert!(bad.parse::<Compare>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_filter_takes_the_cells_that_it_names() {
        let filter = CellFilter {
            devices: "mobile,tv".parse().ok(),
            countries: "DE,ZZ".parse().ok(),
        };
        assert!(filter.is_set());
        for device in Device::ALL {
            for country in (0..=255).filter_map(Country::from_index) {
                let wanted =
                    ["mobile", "tv"].contains(&device.as_str()) && ["DE", "ZZ"].contains(&country.as_str());
                assert_eq!(filter.takes(device, country), wanted, "{device} {country}");
                assert!(CellFilter::default().takes(device, country));
            }
        }
    }
}
