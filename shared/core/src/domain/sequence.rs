//! Sequence numbers of the stream, so stored that bytes compare as numbers do.

use std::fmt;

use smallvec::SmallVec;

use super::digits::{eight_digits, leading_digits};

/// A record's place in its shard. Kinesis writes it as up to 129 decimal digits (its API's pattern; AWS sends 56,
/// emulators fewer); 54 bytes hold that, big-endian, so that the order of bytes is the order of numbers.
///
/// A DynamoDB number would hold only 38 digits, so watermarks are stored as these bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber([u8; Self::BYTES]);

/// A text that is no sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sequence number has 1 to 129 decimal digits")]
pub struct BadSequenceNumber;

impl SequenceNumber {
    /// Width of the stored form.
    pub const BYTES: usize = 54;
    /// Before every record.
    pub const ZERO: Self = Self([0; Self::BYTES]);

    /// From decimal digits.
    pub fn from_decimal(text: &str) -> Result<Self, BadSequenceNumber> {
        Self::from_digits(text.as_bytes())
    }

    /// From decimal digits.
    #[inline]
    pub(crate) fn from_digits(digits: &[u8]) -> Result<Self, BadSequenceNumber> {
        if digits.is_empty() || digits.len() > 129 {
            return Err(BadSequenceNumber);
        }
        // Seven 64-bit limbs, least significant first: 16 digits at a time are multiplied in.
        let (mut limbs, mut used) = ([0_u64; 7], 0);
        let mut push = |value: u64, factor: u64| {
            let mut carry = u128::from(value);
            for limb in &mut limbs[..used] {
                carry += u128::from(*limb) * u128::from(factor);
                *limb = carry as u64;
                carry >>= 64;
            }
            if carry != 0 {
                limbs[used] = carry as u64;
                used += 1;
            }
        };
        let (pairs, rest) = digits.as_chunks::<16>();
        for pair in pairs {
            let (Some(high), Some(low)) = (eight_digits(take(pair, 0)), eight_digits(take(pair, 8))) else {
                return Err(BadSequenceNumber);
            };
            push(high * 100_000_000 + low, 10_000_000_000_000_000);
        }
        let (value, length) = leading_digits(rest).ok_or(BadSequenceNumber)?;
        if length != rest.len() {
            return Err(BadSequenceNumber);
        }
        push(value, 10_u64.pow(length as u32));
        let mut bytes = [0_u8; 56];
        for (i, limb) in limbs.iter().enumerate() {
            bytes[56 - 8 * (i + 1)..56 - 8 * i].copy_from_slice(&limb.to_be_bytes());
        }
        let mut fixed = [0_u8; Self::BYTES];
        fixed.copy_from_slice(&bytes[2..]);
        Ok(Self(fixed))
    }

    /// From the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The low 64 bits, where nothing is above them (the embedded stream's own numbers).
    pub fn as_u64(&self) -> Option<u64> {
        let (high, low) = self.0.split_at(Self::BYTES - 8);
        if high.iter().any(|b| *b != 0) {
            return None;
        }
        low.try_into().ok().map(u64::from_be_bytes)
    }
}

/// Eight of sixteen bytes.
fn take(pair: &[u8; 16], from: usize) -> [u8; 8] {
    std::array::from_fn(|i| pair[from + i])
}

impl From<u64> for SequenceNumber {
    fn from(number: u64) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes[Self::BYTES - 8..].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Display for SequenceNumber {
    /// Decimal, as Kinesis writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Long division by 10^9, least significant group first.
        let mut number = self.0;
        let mut groups: SmallVec<[u32; 16]> = SmallVec::new();
        while number.iter().any(|b| *b != 0) {
            let mut rest = 0_u64;
            for byte in &mut number {
                let value = rest << 8 | u64::from(*byte);
                *byte = (value / 1_000_000_000) as u8;
                rest = value % 1_000_000_000;
            }
            groups.push(rest as u32);
        }
        match groups.split_last() {
            None => f.write_str("0"),
            Some((first, others)) => {
                write!(f, "{first}")?;
                others.iter().rev().try_for_each(|group| write!(f, "{group:09}"))
            }
        }
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_number_of_the_api_fits() {
        let nines = "9".repeat(129);
        assert_eq!(SequenceNumber::from_decimal(&nines).unwrap().to_string(), nines);
        assert_eq!(SequenceNumber::from_decimal("0").unwrap(), SequenceNumber::ZERO);
        for bad in ["", "-1", "1a", " 1", &"9".repeat(130)] {
            assert_eq!(
                SequenceNumber::from_decimal(bad),
                Err(BadSequenceNumber),
                "{bad:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn bytes_compare_as_numbers_do(a in "[1-9][0-9]{0,128}", b in "[1-9][0-9]{0,128}") {
            let by_number = a.len().cmp(&b.len()).then(a.cmp(&b));
            let (x, y) = (SequenceNumber::from_decimal(&a).unwrap(), SequenceNumber::from_decimal(&b).unwrap());
            prop_assert_eq!(x.cmp(&y), by_number);
            prop_assert_eq!(x.to_string(), a);
        }

        #[test]
        fn small_numbers_are_themselves(n: u64) {
            prop_assert_eq!(SequenceNumber::from(n), SequenceNumber::from_decimal(&n.to_string()).unwrap());
            prop_assert_eq!(SequenceNumber::from(n).as_u64(), Some(n));
        }
    }
}
