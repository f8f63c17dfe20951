//! Times as the query API writes and reads them: RFC 3339 with the zone's offset.
//!
//! Invariant: writing and reading a [`LocalTime`] brings back the same instant and the same offset.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant and the offset from UTC that it is written with. Milliseconds are written where they are not zero, an
/// offset of zero as `Z`: `2026-01-02T01:00:00+01:00`, `2026-01-02T00:00:00Z`, `2026-01-02T00:00:00.250Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Unix milliseconds.
    pub unix_ms: i64,
    /// Seconds east of UTC.
    pub offset_s: i32,
}

impl LocalTime {
    /// This instant, written in UTC.
    pub fn utc(unix_ms: i64) -> Self {
        Self { unix_ms, offset_s: 0 }
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Ok(timestamp), Ok(offset)) = (
            Timestamp::from_millisecond(self.unix_ms),
            Offset::from_seconds(self.offset_s),
        ) else {
            return Err(fmt::Error);
        };
        let at = offset.to_datetime(timestamp);
        write!(f, "{:04}-{:02}-{:02}T", at.year(), at.month(), at.day())?;
        write!(f, "{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())?;
        if at.millisecond() != 0 {
            write!(f, ".{:03}", at.millisecond())?;
        }
        if self.offset_s == 0 {
            return f.write_str("Z");
        }
        let minutes = self.offset_s.abs() / 60;
        let sign = if self.offset_s < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not a date and time with an offset.
    #[error(
        "must be a time of RFC 3339 with its offset, such as 2026-01-02T00:00:00Z or 2026-01-02T01:00:00+01:00"
    )]
    NotRfc3339,
    /// Finer than what is stored.
    #[error("must not be finer than a millisecond")]
    TooFine,
}

impl FromStr for LocalTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        // The library also reads other ISO 8601 spellings, dates without a time and zone annotations.
        let shape: &[(usize, &[u8])] = &[(4, b"-"), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")];
        let shaped = shape
            .iter()
            .all(|(at, any)| text.as_bytes().get(*at).is_some_and(|b| any.contains(b)));
        if !shaped || text.contains('[') {
            return Err(TimeError::NotRfc3339);
        }
        let timestamp: Timestamp = text.parse().map_err(|_| TimeError::NotRfc3339)?;
        if timestamp.subsec_nanosecond() % 1_000_000 != 0 {
            return Err(TimeError::TooFine);
        }
        let offset = Pieces::parse(text)
            .ok()
            .and_then(|pieces| pieces.to_numeric_offset());
        Ok(Self {
            unix_ms: timestamp.as_millisecond(),
            offset_s: offset.map_or(0, Offset::seconds),
        })
    }
}

impl Serialize for LocalTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LocalTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_YEAR: i64 = 1_767_312_000_000;

    #[test]
    fn times_are_written_with_their_offset_and_read_back() {
        for (unix_ms, offset_s, text) in [
            (NEW_YEAR, 0, "2026-01-02T00:00:00Z"),
            (NEW_YEAR, 3600, "2026-01-02T01:00:00+01:00"),
            (NEW_YEAR, 20_700, "2026-01-02T05:45:00+05:45"),
            (NEW_YEAR, -12_600, "2026-01-01T20:30:00-03:30"),
            (NEW_YEAR + 250, -1800, "2026-01-01T23:30:00.250-00:30"),
        ] {
            let time = LocalTime { unix_ms, offset_s };
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
            assert_eq!(
                serde_json::from_str::<LocalTime>(&serde_json::to_string(&time).unwrap()).unwrap(),
                time
            );
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in [
            "",
            "2026-01-02",
            "2026-01-02T00:00:00",
            "20260102T000000Z",
            "1767312000",
            "2026-01-02T00:00:00+01:00[Europe/Berlin]",
            "2026-01-02T00:00:00 01:00",
            "2026-13-02T00:00:00Z",
            "2026-01-02T25:00:00Z",
            "2026-01-02T00:00:00Zx",
            "ää26-01-02T00:00:00Z",
        ] {
            assert_eq!(bad.parse::<LocalTime>(), Err(TimeError::NotRfc3339), "{bad:?}");
        }
        assert_eq!(
            "2026-01-02T00:00:00.0005Z".parse::<LocalTime>(),
            Err(TimeError::TooFine)
        );
    }
}
