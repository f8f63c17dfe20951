//! When a record arrived: seconds with a fraction in the event, whole milliseconds with us.
//!
//! Invariant: every spelling of a number that JSON allows gives the same milliseconds, rounded to the nearest.

use crate::domain::digits::leading_digits;

/// The end of the year 9999, Unix milliseconds: what lies behind it is no time but a mistake.
const END_MS: i64 = 253_402_300_800_000;

/// Milliseconds from a JSON number of seconds; `None` for what is no number, negative, or beyond the year 9999.
#[inline]
pub(super) fn arrival_ms(json: &[u8]) -> Option<i64> {
    plain_ms(json)
        .or_else(|| any_ms(json))
        .filter(|ms| (0..END_MS).contains(ms))
}

/// Up to three decimals, as Kinesis gives them, are exact without floating point.
#[inline]
fn plain_ms(json: &[u8]) -> Option<i64> {
    let (seconds, length) = leading_digits(json)?;
    // One to twelve digits without a leading zero: more is not a time, and JSON knows no leading zeros.
    if length > 12 || !matches!(json.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let thousandths = match json[length..] {
        [] => 0,
        [b'.', a] => 100 * digit(a)?,
        [b'.', a, b] => 100 * digit(a)? + 10 * digit(b)?,
        [b'.', a, b, c] => 100 * digit(a)? + 10 * digit(b)? + digit(c)?,
        _ => return None,
    };
    Some(seconds as i64 * 1000 + thousandths)
}

fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

#[cold]
fn any_ms(json: &[u8]) -> Option<i64> {
    let seconds: f64 = serde_json::from_slice(json).ok()?;
    // A cast saturates, and what it saturates to is out of range.
    Some((seconds * 1000.0).round() as i64).filter(|_| seconds >= 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_gives_the_same_milliseconds() {
        for (text, ms) in [
            ("1545084650.987", 1_545_084_650_987),
            ("1545084650.98", 1_545_084_650_980),
            ("1545084650.9", 1_545_084_650_900),
            ("1545084650", 1_545_084_650_000),
            ("1545084650.0", 1_545_084_650_000),
            ("1.545084650987E9", 1_545_084_650_987),
            ("1.545084650987e+9", 1_545_084_650_987),
            ("1545084650.98700", 1_545_084_650_987),
            ("1545084650.9876", 1_545_084_650_988),
            ("0", 0),
            ("0.5", 500),
            ("253402300799.999", END_MS - 1),
        ] {
            assert_eq!(arrival_ms(text.as_bytes()), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "-",
            "-1",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "1.2.3",
            "inf",
            "NaN",
            "1e999",
            "-1e999",
            "null",
            "\"1\"",
            "1 2",
            "253402300800",
            "1545084650987000",
            "99999999999999999999999999",
        ] {
            assert_eq!(arrival_ms(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_agrees_with_floating_point(ms in 1000..END_MS, decimals in 0_usize..=3) {
            let ms = ms - ms % 10_i64.pow(3 - decimals as u32);
            let fraction = &format!("{:03}", ms % 1000)[..decimals];
            let text = format!("{}{}{fraction}", ms / 1000, if decimals == 0 { "" } else { "." });
            prop_assert_eq!(plain_ms(text.as_bytes()), Some(ms));
            prop_assert_eq!(any_ms(text.as_bytes()), Some(ms));
        }

        #[test]
        fn the_short_way_takes_nothing_that_json_does_not(text in "[0-9.eE+-]{0,16}") {
            if let Some(ms) = plain_ms(text.as_bytes()) {
                prop_assert_eq!(any_ms(text.as_bytes()), Some(ms));
            }
        }
    }
}
