//! The stored form of a partial's counts.
//!
//! `totals`: valid clicks, a mask of the invalid verdicts that follow (bit n is verdict n + 1), and their counts.
//! `cells`: for each device × country cell, sorted, the distance to the one before and its valid clicks. All numbers are
//! LEB128 varints; the mask is one byte. A query without a breakdown reads `totals` alone.

use clickledger_core::domain::counter::{Counted, CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::verdict::Verdict;

use crate::failure::Damaged;

/// Clicks by verdict, in the order of [`Verdict::ALL`]; the first is `valid`.
pub(crate) type Totals = [u64; 9];

/// Writes a varint.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a varint.
pub(crate) fn take(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Damaged("count"))?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged("count"))
}

/// Writes both forms, each over what its buffer held.
pub(crate) fn encode(counters: &Counters, totals: &mut Vec<u8>, cells: &mut Vec<u8>) {
    totals.clear();
    cells.clear();
    let (mut sums, mut before) = ([0_u64; 9], 0);
    for (key, count) in counters.iter() {
        match key.counted() {
            Counted::Cell(..) => {
                sums[0] += count;
                put(cells, u64::from(key.to_u16() - before));
                put(cells, count);
                before = key.to_u16();
            }
            Counted::Invalid(verdict) => sums[verdict as usize] = count,
        }
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

/// Adds a stored row's totals.
pub(crate) fn add_totals(mut stored: &[u8], sums: &mut Totals) -> Result<(), Damaged> {
    sums[0] += take(&mut stored)?;
    let (mask, mut counts) = stored.split_first().ok_or(Damaged("count"))?;
    for (verdict, sum) in sums.iter_mut().enumerate().skip(1) {
        if mask & 1 << (verdict - 1) != 0 {
            *sum += take(&mut counts)?;
        }
    }
    Ok(())
}

/// Adds a stored row's counters.
pub(crate) fn add(totals: &[u8], mut cells: &[u8], counters: &mut Counters) -> Result<(), Damaged> {
    let mut sums = [0; 9];
    add_totals(totals, &mut sums)?;
    let mut key = 0_u16;
    while !cells.is_empty() {
        let distance = u16::try_from(take(&mut cells)?).map_err(|_| Damaged("count"))?;
        key = key.checked_add(distance).ok_or(Damaged("count"))?;
        counters.add(
            CounterKey::from_u16(key).ok_or(Damaged("count"))?,
            take(&mut cells)?,
        );
    }
    for verdict in Verdict::ALL.into_iter().skip(1) {
        // A zero adds no counter; an invalid verdict's counter has neither device nor country.
        counters.add(
            CounterKey::of(verdict, Device::Unknown, Country::ZZ),
            sums[verdict as usize],
        );
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
            encode(&original, &mut totals, &mut cells);
            let mut back = Counters::default();
            add(&totals, &cells, &mut back).unwrap();
            assert_eq!(back, original);
            let mut sums = [0; 9];
            add_totals(&totals, &mut sums).unwrap();
            assert_eq!(sums[0], original.valid());
            assert_eq!(sums.iter().sum::<u64>(), original.gross());
        }
    }

    #[test]
    fn cut_and_foreign_bytes_are_noticed() {
        let mut sums = [0; 9];
        for bad in [
            [].as_slice(),
            &[0x80],
            &[1],
            &[1, 0x80],
            &[1, 0x80, 0x80],
            &[0xff; 12],
        ] {
            assert!(add_totals(bad, &mut sums).is_err(), "{bad:?}");
        }
        for bad in [
            [250, 1].as_slice(),
            &[1],
            &[0x80, 0x80, 4, 1],
            &[1, 1, 0xff, 0xff, 3, 1],
        ] {
            assert!(add(&[0, 0], bad, &mut Counters::default()).is_err(), "{bad:?}");
        }
    }
}
