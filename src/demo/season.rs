//! Seasons: how much is clicked at which hour of which weekday, and with what.
//!
//! Invariant: everything here depends on its arguments alone.

use clickledger_core::domain::device::Device;

const HOUR_MS: f64 = 3_600_000.0;

/// Clicks by the hour of a working day, as people read: on the way to work, at noon, in the evening.
const WORKDAY: [f64; 24] = [
    0.22, 0.13, 0.09, 0.07, 0.09, 0.22, 0.55, 0.95, 1.10, 1.02, 0.98, 1.05, 1.22, 1.12, 0.98, 0.97, 1.05,
    1.18, 1.30, 1.48, 1.62, 1.50, 1.05, 0.55,
];
/// The same at the weekend: later, and flatter.
const WEEKEND: [f64; 24] = [
    0.40, 0.27, 0.17, 0.11, 0.09, 0.11, 0.20, 0.40, 0.72, 1.05, 1.22, 1.26, 1.20, 1.12, 1.10, 1.12, 1.15,
    1.18, 1.24, 1.32, 1.38, 1.28, 0.98, 0.66,
];
/// By the weekday, from Monday on.
const WEEK: [f64; 7] = [1.04, 1.08, 1.10, 1.06, 0.98, 0.80, 0.94];

/// Unix milliseconds as hours of a local clock: the weekday from Monday on, and the hour with its fraction.
fn local(unix_ms: i64, hours_east: f64) -> (usize, f64) {
    let hours = unix_ms as f64 / HOUR_MS + hours_east;
    // 1970-01-01 was a Thursday.
    let day = (hours / 24.0).floor() as i64 + 3;
    (day.rem_euclid(7) as usize, hours.rem_euclid(24.0))
}

/// How much is clicked at this time where the clock is so many hours east of UTC; about 1 on average.
pub(super) fn activity(unix_ms: i64, hours_east: f64) -> f64 {
    let (weekday, hour) = local(unix_ms, hours_east);
    let curve = if weekday < 5 { &WORKDAY } else { &WEEKEND };
    // Each value is of the middle of its hour; between them it goes straight.
    let at = (hour - 0.5).rem_euclid(24.0);
    let (before, share) = (at.floor() as usize % 24, at.fract());
    let level = curve[before] * (1.0 - share) + curve[(before + 1) % 24] * share;
    level * WEEK[weekday]
}

/// The device classes with their shares at this time: offices by day, sofas in the evening.
pub(super) fn devices(unix_ms: i64, hours_east: f64, phones: f64) -> [(Device, f64); 5] {
    let (weekday, hour) = local(unix_ms, hours_east);
    let office = weekday < 5 && (8.5..17.5).contains(&hour);
    let sofa = (18.5..23.5).contains(&hour);
    [
        (Device::Mobile, if office { 0.42 } else { 0.61 } * phones),
        (Device::Desktop, if office { 0.53 } else { 0.27 }),
        (Device::Tablet, if sofa { 0.13 } else { 0.05 }),
        (Device::Tv, if sofa { 0.03 } else { 0.005 }),
        (Device::Other, 0.004),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 2026-01-05T00:00:00Z
    const MONDAY_MS: i64 = 1_767_571_200_000;

    fn at(day: i64, hour: f64) -> f64 {
        activity(MONDAY_MS + day * 86_400_000 + (hour * HOUR_MS) as i64, 0.0)
    }

    #[test]
    fn evenings_are_busy_nights_are_quiet_and_weekends_begin_late() {
        assert!(at(0, 20.5) > 10.0 * at(0, 3.5));
        assert!(at(0, 7.5) > 1.5 * at(5, 7.5));
        assert!(at(2, 12.5) > at(5, 12.5));
        // The same local hour elsewhere.
        assert!((activity(MONDAY_MS, 8.0) - at(0, 8.0)).abs() < 1e-9);
        assert!((activity(MONDAY_MS, -5.0) - at(-1, 19.0)).abs() < 1e-9);
    }

    #[test]
    fn an_average_hour_is_about_one() {
        let hours = (0..7 * 24).map(|hour| at(hour / 24, (hour % 24) as f64));
        let mean = hours.sum::<f64>() / 168.0;
        assert!((0.75..1.1).contains(&mean), "{mean}");
    }

    #[test]
    fn offices_use_desktops_by_day() {
        let share = |hour: i64| {
            let all = devices(MONDAY_MS + hour * 3_600_000, 0.0, 1.0);
            all[1].1 / all.iter().map(|(_, share)| share).sum::<f64>()
        };
        assert!(share(11) > 1.5 * share(21));
    }
}
