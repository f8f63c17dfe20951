//! Minutes and hours: what buckets and the lake are cut by. All times are Unix milliseconds, UTC.

use serde::{Deserialize, Serialize};

/// Milliseconds in a minute.
pub const MINUTE_MS: i64 = 60_000;
/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds in a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Minutes since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Minute(pub i64);

impl Minute {
    /// The minute that holds this time (Unix milliseconds).
    pub fn of(unix_ms: i64) -> Self {
        Self(unix_ms.div_euclid(MINUTE_MS))
    }

    /// When it begins, in Unix milliseconds.
    pub fn start_ms(self) -> i64 {
        self.0 * MINUTE_MS
    }

    /// The hour that holds it.
    pub fn hour(self) -> Hour {
        Hour(self.0.div_euclid(60))
    }
}

/// Hours since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hour(pub i64);

impl Hour {
    /// The hour that holds this time (Unix milliseconds).
    pub fn of(unix_ms: i64) -> Self {
        Self(unix_ms.div_euclid(HOUR_MS))
    }

    /// When it begins, in Unix milliseconds.
    pub fn start_ms(self) -> i64 {
        self.0 * HOUR_MS
    }

    /// When it ends (and the next one begins), in Unix milliseconds.
    pub fn end_ms(self) -> i64 {
        self.start_ms() + HOUR_MS
    }

    /// Its first minute.
    pub fn first_minute(self) -> Minute {
        Minute(self.0 * 60)
    }

    /// The UTC day that holds it.
    pub fn day(self) -> Day {
        Day(self.0.div_euclid(24))
    }
}

/// Days since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i64);

impl Day {
    /// The day that holds this time (Unix milliseconds).
    pub fn of(unix_ms: i64) -> Self {
        Self(unix_ms.div_euclid(DAY_MS))
    }

    /// When it begins, in Unix milliseconds.
    pub fn start_ms(self) -> i64 {
        self.0 * DAY_MS
    }

    /// Its first hour; it has 24.
    pub fn first_hour(self) -> Hour {
        Hour(self.0 * 24)
    }

    /// Its hours, in order.
    pub fn hours(self) -> impl DoubleEndedIterator<Item = Hour> {
        (self.0 * 24..(self.0 + 1) * 24).map(Hour)
    }
}
