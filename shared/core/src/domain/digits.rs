//! Decimal digits, eight at a time: sequence numbers, times and ids are most of what a click's bytes hold.
//!
//! Invariant: only the ASCII digits count; nothing here takes a sign, a space or a separator.

/// The number that these eight bytes write in decimal; `None` if one of them is no digit.
///
/// Arithmetic within one 64-bit word: pairs of digits become numbers below 100, pairs of those below 10,000, and so on.
#[inline]
pub(crate) fn eight_digits(bytes: [u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(bytes);
    // A digit is 0x30 to 0x39: its high half is 3, and stays 3 when 6 is added.
    let high = 0xF0F0_F0F0_F0F0_F0F0_u64;
    let three = 0x3030_3030_3030_3030_u64;
    if word & high != three || word.wrapping_add(0x0606_0606_0606_0606) & high != three {
        return None;
    }
    let ones = word ^ three;
    let pairs = ones.wrapping_mul(10).wrapping_add(ones >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    Some((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xFFFF_FFFF)
}

/// The digits that `text` begins with, as a number, and how many they are; `None` for more than 19, which 64 bits may not
/// hold.
#[inline]
pub(crate) fn leading_digits(text: &[u8]) -> Option<(u64, usize)> {
    let (mut value, mut length) = (0_u64, 0);
    while length < 16
        && let Some(eight) = text[length..]
            .first_chunk()
            .and_then(|chunk| eight_digits(*chunk))
    {
        value = value * 100_000_000 + eight;
        length += 8;
    }
    for byte in &text[length..] {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if length == 19 {
            return None;
        }
        value = value * 10 + u64::from(digit);
        length += 1;
    }
    Some((value, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_byte_that_is_no_digit_is_refused_at_every_place() {
        for place in 0..8 {
            for byte in (0..=255_u8).filter(|b| !b.is_ascii_digit()) {
                let mut bytes = *b"98765432";
                bytes[place] = byte;
                assert_eq!(eight_digits(bytes), None, "{bytes:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn eight_digits_are_their_number(n in 0_u64..100_000_000) {
            let text = format!("{n:08}");
            prop_assert_eq!(eight_digits(text.as_bytes().try_into().unwrap()), Some(n));
        }

        #[test]
        fn leading_digits_are_their_number(digits in "[0-9]{0,24}", tail in "([^0-9].*)?") {
            let text = format!("{digits}{tail}");
            let expected = match digits.len() {
                0 => Some((0, 0)),
                1..=19 => Some((digits.parse::<u64>().unwrap(), digits.len())),
                _ => None,
            };
            prop_assert_eq!(leading_digits(text.as_bytes()), expected);
        }
    }
}
