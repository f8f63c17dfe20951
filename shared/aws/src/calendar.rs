//! Dates in the proleptic Gregorian calendar, UTC, as keys, object names and signatures write them.
//!
//! Invariant: every 64-bit hour has its text, also such as no clock will show (tests use those).

use std::fmt;

use clickledger_core::domain::time::DAY_MS;

/// One day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day {
    year: i64,
    month: u8,
    day: u8,
}

impl Day {
    /// The day that holds this time (Unix milliseconds).
    pub(crate) fn of_ms(unix_ms: i64) -> Self {
        Self::of_number(unix_ms.div_euclid(DAY_MS))
    }

    /// The day that begins so many days after 1970-01-01. Howard Hinnant's `civil_from_days`: years begin in March, so that
    /// a leap day is a year's last.
    pub(crate) fn of_number(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u8,
            day: day as u8,
        }
    }

    /// `yyyymm`.
    pub(crate) fn month_key(self) -> String {
        format!("{:04}{:02}", self.year, self.month)
    }

    /// The day of its month, from 1.
    pub(crate) fn day_of_month(self) -> u8 {
        self.day
    }

    /// `yyyy-mm-dd`.
    pub(crate) fn dashed(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// `yyyymmdd`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}{:02}{:02}", self.year, self.month, self.day)
    }
}

/// `yyyymmddThhmmssZ`.
pub(crate) fn date_time(unix_ms: i64) -> String {
    let seconds = unix_ms.rem_euclid(DAY_MS) / 1_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{}T{hour:02}{minute:02}{second:02}Z", Day::of_ms(unix_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_the_dates_that_everybody_knows() {
        for (days, date) in [
            (0, "19700101"),
            (-1, "19691231"),
            (59, "19700301"),
            (11_016, "20000229"),
            (11_017, "20000301"),
            (20_455, "20260102"),
            (47_540, "21000228"),
            (47_541, "21000301"),
        ] {
            assert_eq!(Day::of_number(days).to_string(), date, "day {days}");
        }
        assert_eq!(date_time(1_767_312_000_000 + 3_723_999), "20260102T010203Z");
        assert_eq!(Day::of_ms(1_767_312_000_000).dashed(), "2026-01-02");
        assert_eq!(Day::of_number(20_455).month_key(), "202601");
    }

    #[test]
    fn four_centuries_count_every_day_once() {
        let mut before = Day::of_number(-1);
        for days in 0..146_097 {
            let day = Day::of_number(days);
            let next_day = day.month == before.month && day.day == before.day + 1;
            let next_month = day.day == 1 && before.day >= 28 && day.month == before.month % 12 + 1;
            assert!(next_day || next_month, "{before} and {day}");
            before = day;
        }
        assert_eq!(Day::of_number(146_097).to_string(), "23700101");
    }
}
