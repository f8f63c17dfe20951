//! Sealed counts: an entity's hour by the minute, and its UTC day by the quarter-hour.
//!
//! Invariant: minutes and quarter-hours without clicks have no entry; the others are in order, each once.

use super::counter::Counters;
use super::entity::Entity;
use super::time::{Day, Hour, Minute};

/// Minutes of a quarter-hour: time zones' offsets are multiples of it, so a local day is whole ones.
pub const QUARTER_MINUTES: i64 = 15;
/// Quarter-hours of a day.
pub const QUARTERS: u8 = 96;

/// One entity's clicks of one hour, under one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedHour {
    /// Whose clicks.
    pub entity: Entity,
    /// Of which hour.
    pub hour: Hour,
    /// Written by which run; readers take the manifest's.
    pub version: u64,
    /// The minute's place in the hour (0 to 59) and its clicks.
    pub minutes: Vec<(u8, Counters)>,
}

impl SealedHour {
    /// The minute of a place.
    pub fn minute(&self, place: u8) -> Minute {
        Minute(self.hour.first_minute().0 + i64::from(place))
    }
}

/// One quarter-hour of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarter {
    /// Its place in the day, 0 to 95.
    pub place: u8,
    /// Its clicks.
    pub counters: Counters,
    /// The first of its minutes with most valid clicks (0 to 14), and how many; 0 and 0 where none is valid.
    pub peak: (u8, u64),
}

/// One entity's clicks of one UTC day, under one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedDay {
    /// Whose clicks.
    pub entity: Entity,
    /// Of which day.
    pub day: Day,
    /// Written by which run; readers take the manifest's.
    pub version: u64,
    /// The quarter-hours that have clicks.
    pub quarters: Vec<Quarter>,
}

impl SealedDay {
    /// The first minute of a quarter-hour's place.
    pub fn minute(&self, place: u8) -> Minute {
        Minute(self.day.first_hour().first_minute().0 + i64::from(place) * QUARTER_MINUTES)
    }

    /// Adds up the day's sealed hours, in the order of their hours; `None` where there is no click in any.
    pub fn of_hours(entity: Entity, day: Day, version: u64, hours: &[SealedHour]) -> Option<Self> {
        let mut quarters: Vec<Quarter> = Vec::new();
        for hour in hours.iter().filter(|hour| hour.hour.day() == day) {
            for (place, counters) in &hour.minutes {
                let of_day = hour.minute(*place).0 - day.first_hour().first_minute().0;
                let (place, within) = ((of_day / QUARTER_MINUTES) as u8, (of_day % QUARTER_MINUTES) as u8);
                let valid = counters.valid();
                match quarters.last_mut() {
                    Some(quarter) if quarter.place == place => {
                        quarter.counters.merge(counters);
                        if valid > quarter.peak.1 {
                            quarter.peak = (within, valid);
                        }
                    }
                    _ => quarters.push(Quarter {
                        place,
                        counters: counters.clone(),
                        peak: if valid > 0 { (within, valid) } else { (0, 0) },
                    }),
                }
            }
        }
        (!quarters.is_empty()).then_some(Self {
            entity,
            day,
            version,
            quarters,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::counter::CounterKey;
    use crate::domain::country::Country;
    use crate::domain::device::Device;
    use crate::domain::verdict::Verdict;

    fn clicks(verdict: Verdict, count: u64) -> Counters {
        [(CounterKey::of(verdict, Device::Mobile, Country::ZZ), count)]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_day_is_its_hours_by_the_quarter_with_the_first_highest_minute() {
        let (day, entity) = (Day(20_454), Entity::Total);
        let hour = |n: i64, minutes: &[(u8, Verdict, u64)]| SealedHour {
            entity,
            hour: Hour(day.first_hour().0 + n),
            version: 3,
            minutes: minutes
                .iter()
                .map(|(place, verdict, count)| (*place, clicks(*verdict, *count)))
                .collect(),
        };
        let hours = [
            hour(-1, &[(59, Verdict::Valid, 9)]),
            hour(
                0,
                &[
                    (0, Verdict::Valid, 2),
                    (14, Verdict::Valid, 2),
                    (15, Verdict::Bot, 1),
                ],
            ),
            hour(23, &[(58, Verdict::Valid, 1), (59, Verdict::Valid, 5)]),
        ];
        let sealed = SealedDay::of_hours(entity, day, 7, &hours).unwrap();
        let found: Vec<_> = sealed
            .quarters
            .iter()
            .map(|quarter| {
                (
                    quarter.place,
                    quarter.counters.valid(),
                    quarter.counters.gross(),
                    quarter.peak,
                )
            })
            .collect();
        assert_eq!(found, [(0, 4, 4, (0, 2)), (1, 0, 1, (0, 0)), (95, 6, 6, (14, 5))]);
        assert_eq!(sealed.minute(95).0, day.first_hour().first_minute().0 + 1425);
        assert_eq!(SealedDay::of_hours(entity, day, 7, &hours[..1]), None);
    }
}
