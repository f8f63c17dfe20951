//! The packed form of counts, wherever they are stored as bytes.
//!
//! Totals: valid clicks, a mask of the invalid verdicts that follow (bit n is verdict n + 1), and their counts. Cells: how
//! many, and for each device × country cell, sorted, the distance to the one before and its valid clicks. All numbers are
//! LEB128 varints; the mask is one byte. Totals and cells lie apart, so that who asks for no breakdown reads totals alone.
//!
//! A sealed hour is, for each of its minutes, the minute's place (one byte) and totals; and apart, in the same order, their
//! cells. A sealed day is, for each of its quarter-hours, the place (one byte), totals, the peak's minute (one byte) and
//! count; and apart, in the same order, their cells.
//!
//! Invariant: what is packed is unpacked as it was; bytes that nothing packs to are noticed.

mod sealed;

pub use sealed::{Packed, PackedDay, PackedHour, QuarterOfDay};

use super::counter::{Counted, CounterKey, Counters};
use super::country::Country;
use super::device::Device;
use super::verdict::Verdict;

/// Clicks by verdict, in the order of [`Verdict::ALL`]; the first is `valid`.
pub type Totals = [u64; 9];

/// Bytes that are no packed counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not packed counts")]
pub struct NotPacked;

/// Writes a varint.
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a varint.
///
/// # Errors
/// [`NotPacked`] where the bytes end too early or the number is too long.
#[inline]
pub fn take(bytes: &mut &[u8]) -> Result<u64, NotPacked> {
    // Most are one byte long.
    if let [byte @ ..0x80, rest @ ..] = *bytes {
        *bytes = rest;
        return Ok(u64::from(*byte));
    }
    take_long(bytes)
}

fn take_long(bytes: &mut &[u8]) -> Result<u64, NotPacked> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(NotPacked)
}

/// Reads one byte.
///
/// # Errors
/// [`NotPacked`] where there is none.
#[inline]
pub fn take_byte(bytes: &mut &[u8]) -> Result<u8, NotPacked> {
    let (byte, rest) = bytes.split_first().ok_or(NotPacked)?;
    *bytes = rest;
    Ok(*byte)
}

/// Adds counters to totals.
pub fn fold(counters: &Counters, sums: &mut Totals) {
    for (key, count) in counters.iter() {
        match key.counted() {
            Counted::Cell(..) => sums[0] += count,
            Counted::Invalid(verdict) => sums[verdict as usize] += count,
        }
    }
}

/// Appends both forms.
pub fn push(counters: &Counters, totals: &mut Vec<u8>, cells: &mut Vec<u8>) {
    let mut sums = [0_u64; 9];
    fold(counters, &mut sums);
    let own = || counters.iter().filter(|(key, _)| key.is_valid());
    put(cells, own().count() as u64);
    let mut before = 0;
    for (key, count) in own() {
        put(cells, u64::from(key.to_u16() - before));
        put(cells, count);
        before = key.to_u16();
    }
    put(totals, sums[0]);
    let mask = (1..9)
        .filter(|v| sums[*v] > 0)
        .fold(0_u8, |mask, v| mask | 1 << (v - 1));
    totals.push(mask);
    sums[1..]
        .iter()
        .filter(|count| **count > 0)
        .for_each(|count| put(totals, *count));
}

/// Reads totals.
///
/// # Errors
/// [`NotPacked`]
#[inline]
pub fn take_totals(stored: &mut &[u8]) -> Result<Totals, NotPacked> {
    let mut sums = [0; 9];
    sums[0] = take(stored)?;
    let mut left = take_byte(stored)?;
    while left != 0 {
        sums[left.trailing_zeros() as usize + 1] = take(stored)?;
        left &= left - 1;
    }
    Ok(sums)
}

/// Goes over cells.
///
/// # Errors
/// [`NotPacked`]
pub fn skip_cells(stored: &mut &[u8]) -> Result<(), NotPacked> {
    for _ in 0..take(stored)? {
        take(stored)?;
        take(stored)?;
    }
    Ok(())
}

/// Reads the counters of totals and cells.
///
/// # Errors
/// [`NotPacked`]
pub fn take_counters(totals: &mut &[u8], cells: &mut &[u8]) -> Result<Counters, NotPacked> {
    let sums = take_totals(totals)?;
    let (mut key, count) = (0_u16, take(cells)?);
    // A cell is two bytes at least: whatever damaged bytes say, no more room is made than they can fill.
    let most = (cells.len() / 2).min(usize::try_from(count).unwrap_or(usize::MAX));
    let invalid = sums[1..].iter().filter(|count| **count > 0).count();
    let mut counters = Counters::with_capacity(most + invalid);
    for _ in 0..count {
        let distance = u16::try_from(take(cells)?).map_err(|_| NotPacked)?;
        key = key.checked_add(distance).ok_or(NotPacked)?;
        let cell = CounterKey::from_u16(key)
            .filter(|cell| cell.is_valid())
            .ok_or(NotPacked)?;
        counters.add(cell, take(cells)?);
    }
    for verdict in Verdict::ALL.into_iter().skip(1) {
        // A zero adds no counter; an invalid verdict's counter has neither device nor country.
        counters.add(
            CounterKey::of(verdict, Device::Unknown, Country::ZZ),
            sums[verdict as usize],
        );
    }
    Ok(counters)
}

/// Adds the counters of totals and cells to others.
///
/// # Errors
/// [`NotPacked`]
pub fn add(mut totals: &[u8], mut cells: &[u8], counters: &mut Counters) -> Result<(), NotPacked> {
    let stored = take_counters(&mut totals, &mut cells)?;
    if counters.is_empty() {
        *counters = stored;
    } else {
        counters.merge(&stored);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(of: &[(Verdict, Device, &str, u64)]) -> Counters {
        let key = |(verdict, device, country, count): &(Verdict, Device, &str, u64)| {
            (
                CounterKey::of(*verdict, *device, country.parse().unwrap()),
                *count,
            )
        };
        of.iter().map(key).collect()
    }

    #[test]
    fn counts_come_back_as_they_were_and_totals_need_no_cells() {
        let many = counters(&[
            (Verdict::Valid, Device::Desktop, "AD", 1),
            (Verdict::Valid, Device::Mobile, "DE", 300),
            (Verdict::Valid, Device::Unknown, "ZZ", u64::from(u32::MAX)),
            (Verdict::Prefetch, Device::Mobile, "DE", 127),
            (Verdict::Duplicate, Device::Mobile, "DE", 128),
        ]);
        for original in [many, Counters::default()] {
            let (mut totals, mut cells) = (Vec::new(), Vec::new());
            push(&original, &mut totals, &mut cells);
            let mut back = Counters::default();
            add(&totals, &cells, &mut back).unwrap();
            assert_eq!(back, original);
            let (mut left, mut folded) = (totals.as_slice(), [0; 9]);
            let sums = take_totals(&mut left).unwrap();
            fold(&original, &mut folded);
            assert_eq!((sums, left), (folded, [].as_slice()));
            assert_eq!(sums[0], original.valid());
            assert_eq!(sums.iter().sum::<u64>(), original.gross());
            let mut left = cells.as_slice();
            skip_cells(&mut left).unwrap();
            assert_eq!(left, [0_u8; 0]);
        }
    }

    #[test]
    fn cut_and_foreign_bytes_are_noticed() {
        for bad in [
            [].as_slice(),
            &[0x80],
            &[1],
            &[1, 0x80],
            &[1, 0x80, 0x80],
            &[0xff; 12],
        ] {
            assert!(take_totals(&mut &*bad).is_err(), "{bad:?}");
        }
        for bad in [
            [].as_slice(),
            &[1, 250, 1],
            &[1, 1],
            &[1, 0x80, 0x80, 4, 1],
            &[1, 0x80, 0x80, 2, 1],
            &[2, 1, 1, 0xff, 0xff, 3, 1],
        ] {
            assert!(add(&[0, 0], bad, &mut Counters::default()).is_err(), "{bad:?}");
        }
    }
}
