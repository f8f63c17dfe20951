//! What people write on a command line: durations, shares, times.
//!
//! Invariant: a text is either understood as it was surely meant, or refused with what it must be.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// A length of time: `500ms`, `30s`, `5m`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let must_be = || "must be a length of time such as 30s, 5m or 1h30m, more than nothing".to_owned();
    let duration: SignedDuration = text.parse().map_err(|_| must_be())?;
    Duration::try_from(duration)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(must_be)
}

/// A share in percent, with or without the sign: `5`, `0.5%`.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    text.trim_end_matches('%')
        .trim()
        .parse()
        .ok()
        .filter(|share| (0.0..=100.0).contains(share))
        .ok_or_else(|| "must be a share from 0 to 100 %".to_owned())
}

/// Zipf's exponent.
pub(crate) fn exponent(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|exponent| (0.0..=10.0).contains(exponent))
        .ok_or_else(|| "must be a number from 0 to 10".to_owned())
}

/// A point in time, perhaps relative to now or to a time zone's days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// RFC 3339.
    At(Timestamp),
    /// The beginning of a date in the time zone.
    On(Date),
    /// So long before now.
    Ago(SignedDuration),
    /// The beginning of the day so many days before today in the time zone.
    DaysAgo(i32),
}

/// `2026-01-02T00:00:00Z`, `2026-01-02`, `-1h`, `now`, `today`, `yesterday`.
pub(crate) fn when(text: &str) -> Result<When, String> {
    match text {
        "now" => return Ok(When::Ago(SignedDuration::ZERO)),
        "today" => return Ok(When::DaysAgo(0)),
        "yesterday" => return Ok(When::DaysAgo(1)),
        "tomorrow" => return Ok(When::DaysAgo(-1)),
        _ => {}
    }
    if let Some(ago) = text.strip_prefix('-') {
        // A day is 24 hours here: jiff's own durations stop at hours.
        let days = ago
            .strip_suffix('d')
            .and_then(|days| days.parse::<i64>().ok())
            .and_then(|days| days.checked_mul(24));
        let ago = match days {
            Some(hours) => SignedDuration::try_from_hours(hours),
            None => duration(ago).ok().and_then(|ago| ago.try_into().ok()),
        };
        if let Some(ago) = ago {
            return Ok(When::Ago(ago));
        }
    } else if text.len() == 10
        && let Ok(date) = text.parse()
    {
        return Ok(When::On(date));
    } else if let Ok(at) = text.parse() {
        return Ok(When::At(at));
    }
    Err(
        "must be a time such as 2026-01-02T00:00:00Z, a date such as 2026-01-02, a time ago such as -90m, -1h or \
         -7d, or now, today, yesterday or tomorrow"
            .to_owned(),
    )
}

impl When {
    /// Unix milliseconds; days begin at midnight of the zone.
    pub(crate) fn unix_ms(self, now_ms: i64, zone: &TimeZone) -> Result<i64, jiff::Error> {
        let now = Timestamp::from_millisecond(now_ms)?;
        let at = match self {
            Self::At(at) => at,
            Self::On(date) => date.to_zoned_datetime(zone.clone())?.timestamp(),
            Self::Ago(ago) => now.checked_sub(ago)?,
            Self::DaysAgo(days) => now
                .to_zoned_datetime(zone.clone())
                .date()
                .checked_sub(days.days())?
                .to_zoned_datetime(zone.clone())?
                .timestamp(),
        };
        Ok(at.as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-01T22:30:00Z
    const NOW_MS: i64 = 1_772_404_200_000;

    fn in_berlin(text: &str) -> String {
        let ms = when(text)
            .unwrap()
            .unix_ms(NOW_MS, &TimeZone::get("Europe/Berlin").unwrap())
            .unwrap();
        Timestamp::from_millisecond(ms).unwrap().to_string()
    }

    #[test]
    fn times_are_understood_in_the_time_zone() {
        for (text, at) in [
            ("now", "2026-03-01T22:30:00Z"),
            ("-90m", "2026-03-01T21:00:00Z"),
            ("-1h", "2026-03-01T21:30:00Z"),
            ("-7d", "2026-02-22T22:30:00Z"),
            ("today", "2026-02-28T23:00:00Z"),
            ("yesterday", "2026-02-27T23:00:00Z"),
            ("tomorrow", "2026-03-01T23:00:00Z"),
            ("2026-07-01", "2026-06-30T22:00:00Z"),
            ("2026-01-02T01:00:00+01:00", "2026-01-02T00:00:00Z"),
        ] {
            assert_eq!(in_berlin(text), at, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "1h",
            "-",
            "-1",
            "-1y",
            "2026-13-01",
            "2026-01-02T00:00:00",
            "noon",
        ] {
            assert!(when(text).is_err(), "{text}");
        }
        for text in ["", "0s", "-1s", "10", "s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "-1", "101", "five"] {
            assert!(percent(text).is_err(), "{text}");
        }
        assert_eq!(percent("0.5%"), Ok(0.5));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
    }
}
