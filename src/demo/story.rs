//! What happens in the demo's time: campaigns begin and pause, an ad grows hot, a robot comes, the stream is down, the server is
//! restarted.
//!
//! Invariant: everything happens on days that are over, and the clicks that the restart lost are two daily runs away from the end.

use std::ops::Range;

use clickledger_core::domain::time::{DAY_MS, Day, HOUR_MS, MINUTE_MS};

/// The time that is filled, and what happens when. Unix milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Story {
    /// The beginning of a day (UTC).
    pub(super) from_ms: i64,
    /// The end, in the midst of the last day.
    pub(super) until_ms: i64,
    /// An ad is shown far more often, and clicked.
    pub(super) hot: Range<i64>,
    /// A robot clicks.
    pub(super) burst: Range<i64>,
    /// The stream refuses: clicks are spilled, and come late.
    pub(super) outage: Range<i64>,
    /// The server dies: clicks are lost between their claim and their record.
    pub(super) restart: Range<i64>,
}

impl Story {
    /// The fewest days that it fits in.
    pub(super) const LEAST_DAYS: u32 = 3;

    /// So many days up to `until_ms`, the last of them today.
    pub(super) fn new(until_ms: i64, days: u32) -> Self {
        let days = i64::from(days.max(Self::LEAST_DAYS));
        let from_ms = Day(Day::of(until_ms).0 - (days - 1)).start_ms();
        let day = |share: f64| from_ms + ((share * days as f64) as i64).min(days - 2) * DAY_MS;
        let minutes = |day_ms: i64, minutes: Range<i64>| {
            day_ms + minutes.start * MINUTE_MS..day_ms + minutes.end * MINUTE_MS
        };
        let restarted_ms = day(0.25) + 9 * HOUR_MS + 41 * MINUTE_MS;
        Self {
            from_ms,
            until_ms,
            hot: minutes(day(0.74), 16 * 60..23 * 60),
            burst: minutes(day(0.84), 2 * 60 + 10..3 * 60 + 40),
            outage: minutes(day(0.4), 13 * 60 + 10..13 * 60 + 24),
            restart: restarted_ms + 8_000..restarted_ms + 26_000,
        }
    }

    /// How far it has come, 0 to 1.
    pub(super) fn progress(&self, at_ms: i64) -> f64 {
        (at_ms - self.from_ms) as f64 / (self.until_ms - self.from_ms).max(1) as f64
    }

    /// By how much more the slots are visited.
    pub(super) fn crowd(&self, at_ms: i64) -> f64 {
        if !self.hot.contains(&at_ms) {
            return 1.0;
        }
        // It comes within an hour and goes slowly.
        let hours = (at_ms - self.hot.start) as f64 / HOUR_MS as f64;
        1.0 + 2.6 * hours.min(1.0) * (-(hours - 1.0).max(0.0) / 2.5).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_happens_in_its_time_on_days_that_are_over() {
        // 2026-03-04T00:00:00Z, the first minute of a day, and one in its midst.
        for until_ms in [1_772_582_400_000, 1_772_582_400_000 + 15 * HOUR_MS] {
            for days in [3, 4, 7, 31, 366] {
                let story = Story::new(until_ms, days);
                assert_eq!(story.from_ms % DAY_MS, 0);
                let today_ms = Day::of(until_ms).start_ms();
                for range in [&story.hot, &story.burst, &story.outage, &story.restart] {
                    assert!(story.from_ms <= range.start && range.start < range.end && range.end <= today_ms);
                }
                assert!(story.restart.end + DAY_MS <= today_ms);
                assert!(story.crowd(story.hot.start + HOUR_MS) > 3.0);
                assert!((story.crowd(story.hot.start - 1) - 1.0).abs() < f64::EPSILON);
            }
        }
    }
}
