//! The packed forms of sealed hours and days.

use super::{NotPacked, Totals, push, put, take, take_byte, take_counters, take_totals};
use crate::domain::counter::Counters;
use crate::domain::sealed::{QUARTER_MINUTES, QUARTERS, Quarter, SealedDay, SealedHour};

/// Minutes of an hour.
const MINUTES: u8 = 60;

/// Both parts of a packed hour or day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packed {
    /// Totals by minute, or totals and peaks by quarter-hour.
    pub totals: Vec<u8>,
    /// Cells in the same order.
    pub cells: Vec<u8>,
}

/// Places are in order, each once, and below `end`.
fn take_place(totals: &mut &[u8], after: Option<u8>, end: u8) -> Result<u8, NotPacked> {
    let place = take_byte(totals)?;
    if Some(place) > after && place < end {
        Ok(place)
    } else {
        Err(NotPacked)
    }
}

/// What a sealed hour packs to.
#[derive(Debug, Clone, Copy)]
pub struct PackedHour;

impl PackedHour {
    /// Packs an hour's minutes.
    pub fn pack(hour: &SealedHour) -> Packed {
        let mut packed = Packed::default();
        for (place, counters) in &hour.minutes {
            packed.totals.push(*place);
            push(counters, &mut packed.totals, &mut packed.cells);
        }
        packed
    }

    /// The minutes: place and counters.
    ///
    /// # Errors
    /// [`NotPacked`]
    pub fn minutes(mut totals: &[u8], mut cells: &[u8]) -> Result<Vec<(u8, Counters)>, NotPacked> {
        let mut minutes = Vec::with_capacity((totals.len() / 3).min(MINUTES.into()));
        let mut last = None;
        while !totals.is_empty() {
            let place = take_place(&mut totals, last, MINUTES)?;
            minutes.push((place, take_counters(&mut totals, &mut cells)?));
            last = Some(place);
        }
        cells.is_empty().then_some(minutes).ok_or(NotPacked)
    }

    /// The minutes without cells: place and totals.
    ///
    /// # Errors
    /// [`NotPacked`]
    pub fn totals(mut totals: &[u8]) -> Result<Vec<(u8, Totals)>, NotPacked> {
        let mut minutes = Vec::with_capacity((totals.len() / 3).min(MINUTES.into()));
        let mut last = None;
        while !totals.is_empty() {
            let place = take_place(&mut totals, last, MINUTES)?;
            minutes.push((place, take_totals(&mut totals)?));
            last = Some(place);
        }
        Ok(minutes)
    }
}

/// A quarter-hour without cells: place, totals and peak (minute and count).
pub type QuarterOfDay = (u8, Totals, (u8, u64));

/// What a sealed day packs to.
#[derive(Debug, Clone, Copy)]
pub struct PackedDay;

impl PackedDay {
    /// Packs a day's quarter-hours.
    pub fn pack(day: &SealedDay) -> Packed {
        let mut packed = Packed::default();
        for quarter in &day.quarters {
            packed.totals.push(quarter.place);
            push(&quarter.counters, &mut packed.totals, &mut packed.cells);
            packed.totals.push(quarter.peak.0);
            put(&mut packed.totals, quarter.peak.1);
        }
        packed
    }

    /// The quarter-hours.
    ///
    /// # Errors
    /// [`NotPacked`]
    pub fn quarters(mut totals: &[u8], mut cells: &[u8]) -> Result<Vec<Quarter>, NotPacked> {
        let mut quarters: Vec<Quarter> = Vec::with_capacity((totals.len() / 5).min(QUARTERS.into()));
        while !totals.is_empty() {
            let last = quarters.last().map(|quarter| quarter.place);
            quarters.push(Quarter {
                place: take_place(&mut totals, last, QUARTERS)?,
                counters: take_counters(&mut totals, &mut cells)?,
                peak: take_peak(&mut totals)?,
            });
        }
        cells.is_empty().then_some(quarters).ok_or(NotPacked)
    }

    /// The quarter-hours without cells.
    ///
    /// # Errors
    /// [`NotPacked`]
    pub fn totals(mut totals: &[u8]) -> Result<Vec<QuarterOfDay>, NotPacked> {
        let mut quarters = Vec::with_capacity((totals.len() / 5).min(QUARTERS.into()));
        let mut last = None;
        while !totals.is_empty() {
            let place = take_place(&mut totals, last, QUARTERS)?;
            quarters.push((place, take_totals(&mut totals)?, take_peak(&mut totals)?));
            last = Some(place);
        }
        Ok(quarters)
    }
}

fn take_peak(totals: &mut &[u8]) -> Result<(u8, u64), NotPacked> {
    let minute = take_byte(totals)?;
    if i64::from(minute) < QUARTER_MINUTES {
        Ok((minute, take(totals)?))
    } else {
        Err(NotPacked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::counter::CounterKey;
    use crate::domain::entity::Entity;
    use crate::domain::packed::fold;
    use crate::domain::time::{Day, Hour};

    fn counters(n: u64) -> Counters {
        let keys = [0, 1, 3 << 8, 6 << 8 | 200, 0x8000 | 3, 0x8000 | 8];
        keys.into_iter()
            .filter_map(CounterKey::from_u16)
            .enumerate()
            .map(|(place, key)| (key, n * place as u64 * 97))
            .collect()
    }

    fn sums(counters: &Counters) -> Totals {
        let mut sums = [0; 9];
        fold(counters, &mut sums);
        sums
    }

    #[test]
    fn hours_come_back_with_and_without_cells() {
        for places in [vec![], vec![0], vec![59], (0..60).collect()] {
            let hour = SealedHour {
                entity: Entity::Total,
                hour: Hour(490_000),
                version: 3,
                minutes: places
                    .iter()
                    .map(|place| (*place, counters(u64::from(*place) * 31)))
                    .collect(),
            };
            let Packed { totals, cells } = PackedHour::pack(&hour);
            assert_eq!(PackedHour::minutes(&totals, &cells).as_ref(), Ok(&hour.minutes));
            let found = PackedHour::totals(&totals).unwrap();
            let expected = hour
                .minutes
                .iter()
                .map(|(place, counters)| (*place, sums(counters)));
            assert!(found.into_iter().eq(expected));
        }
    }

    #[test]
    fn days_come_back_with_and_without_cells() {
        for places in [vec![], vec![0], vec![95], (0..96).collect()] {
            let day = SealedDay {
                entity: Entity::Total,
                day: Day(20_454),
                version: 3,
                quarters: places
                    .iter()
                    .map(|place| Quarter {
                        place: *place,
                        counters: counters(u64::from(*place) * 31),
                        peak: (place % 15, u64::from(*place) * 1_000),
                    })
                    .collect(),
            };
            let Packed { totals, cells } = PackedDay::pack(&day);
            assert_eq!(PackedDay::quarters(&totals, &cells).as_ref(), Ok(&day.quarters));
            let found = PackedDay::totals(&totals).unwrap();
            let expected = day
                .quarters
                .iter()
                .map(|quarter| (quarter.place, sums(&quarter.counters), quarter.peak));
            assert!(found.into_iter().eq(expected));
        }
    }

    #[test]
    fn cut_bytes_and_wrong_places_are_noticed() {
        let hour = SealedHour {
            entity: Entity::Total,
            hour: Hour(490_000),
            version: 3,
            minutes: vec![(7, counters(5)), (9, counters(500))],
        };
        let Packed { totals, cells } = PackedHour::pack(&hour);
        assert!(PackedHour::minutes(&totals, &cells[..cells.len() - 1]).is_err());
        assert!(PackedHour::minutes(&totals, &[&cells[..], &[0]].concat()).is_err());
        assert!(PackedHour::totals(&totals[..totals.len() - 1]).is_err());
        let twice = [&totals[..], &totals[..]].concat();
        assert!(PackedHour::totals(&twice).is_err(), "places fall");
        assert!(PackedHour::totals(&[60, 0, 0]).is_err(), "no such minute");
        assert!(
            PackedDay::totals(&[96, 0, 0, 0, 0]).is_err(),
            "no such quarter-hour"
        );
        assert!(
            PackedDay::totals(&[0, 0, 0, 15, 0]).is_err(),
            "no such minute of one"
        );
        assert!(PackedDay::totals(&[0, 0, 0, 14, 0]).is_ok());
        assert!(PackedDay::quarters(&[0, 0, 0, 14], &[0]).is_err());
    }
}
