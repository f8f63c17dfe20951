//! Reading the pieces of a layout.
//!
//! Invariant: of a sealed place only the item under the version that its manifest named is seen.

use super::source::{CountStores, Origin, Piece};
use crate::domain::bucket::Bucket;
use crate::domain::counter::Counters;
use crate::domain::entity::Entity;
use crate::domain::sealed::QUARTER_MINUTES;
use crate::domain::time::{Day, Hour, Minute};
use crate::ports::{MinuteTotals, PortResult};

/// The counts of one minute, or of a quarter-hour, of which `minute` is the first.
pub(super) struct Counted<C> {
    pub(super) minute: i64,
    pub(super) counts: C,
    /// The first of its minutes with most valid clicks, and how many.
    pub(super) peak: (i64, u64),
}

/// A piece's counts, in order.
pub(super) struct Found<C> {
    pub(super) counted: Vec<Counted<C>>,
    /// Whether a sealed place had no item.
    pub(super) missing: bool,
}

impl<C> Found<C> {
    /// Of what is not counted live there is nothing to be read, and nothing is missing.
    fn nothing() -> Self {
        Self {
            counted: Vec::new(),
            missing: false,
        }
    }
}

/// The items of a sealed piece that have the version that the manifests name for their place.
fn under_versions<T>(
    items: Vec<T>,
    first: i64,
    versions: &[u64],
    place_and_version: impl Fn(&T) -> (i64, u64),
) -> (Vec<T>, bool) {
    let wanted = |item: &T| {
        let (place, version) = place_and_version(item);
        usize::try_from(place - first).is_ok_and(|place| versions.get(place) == Some(&version))
    };
    let items: Vec<T> = items.into_iter().filter(wanted).collect();
    let missing = items.len() < versions.len();
    (items, missing)
}

impl CountStores {
    /// A piece's counts without cells.
    pub(super) async fn totals(&self, entity: Entity, piece: &Piece) -> PortResult<Found<MinuteTotals>> {
        let minute = |totals: MinuteTotals| Counted {
            minute: totals.minute.0,
            peak: (totals.minute.0, totals.valid),
            counts: totals,
        };
        match &piece.origin {
            Origin::Days(first, versions) => {
                let end = Day(first.0 + versions.len() as i64);
                let days = self.sealed.read_day_totals(entity, *first, end).await?;
                let (days, missing) = under_versions(days, first.0, versions, |day| (day.day.0, day.version));
                let quarters = days.into_iter().flat_map(|day| day.quarters);
                let counted = quarters.map(|quarter| Counted {
                    minute: quarter.totals.minute.0,
                    peak: (
                        quarter.totals.minute.0 + i64::from(quarter.peak.0),
                        quarter.peak.1,
                    ),
                    counts: quarter.totals,
                });
                Ok(Found {
                    counted: counted.collect(),
                    missing,
                })
            }
            Origin::Hours(first, versions) => {
                let end = Hour(first.0 + versions.len() as i64);
                let hours = self.sealed.read_hour_totals(entity, *first, end).await?;
                let (hours, missing) =
                    under_versions(hours, first.0, versions, |hour| (hour.hour.0, hour.version));
                let counted = hours.into_iter().flat_map(|hour| hour.minutes).map(minute);
                Ok(Found {
                    counted: counted.collect(),
                    missing,
                })
            }
            Origin::Partials if !entity.is_counted_live() => Ok(Found::nothing()),
            Origin::Partials => {
                let (from, to) = (Minute(piece.minutes.start), Minute(piece.minutes.end));
                let totals = self.buckets.read_totals(entity, from, to).await?;
                Ok(Found {
                    counted: totals.into_iter().map(minute).collect(),
                    missing: false,
                })
            }
        }
    }

    /// A piece's counts with their cells.
    pub(super) async fn cells(&self, entity: Entity, piece: &Piece) -> PortResult<Found<Counters>> {
        let minute = |minute: Minute, counters: Counters| Counted {
            minute: minute.0,
            peak: (minute.0, counters.valid()),
            counts: counters,
        };
        match &piece.origin {
            Origin::Days(first, versions) => {
                let end = Day(first.0 + versions.len() as i64);
                let days = self.sealed.read_days(entity, *first, end).await?;
                let (days, missing) = under_versions(days, first.0, versions, |day| (day.day.0, day.version));
                let mut counted = Vec::new();
                for day in days {
                    let begin = day.minute(0).0;
                    counted.extend(day.quarters.into_iter().map(|quarter| {
                        let first = begin + i64::from(quarter.place) * QUARTER_MINUTES;
                        Counted {
                            minute: first,
                            counts: quarter.counters,
                            peak: (first + i64::from(quarter.peak.0), quarter.peak.1),
                        }
                    }));
                }
                Ok(Found { counted, missing })
            }
            Origin::Hours(first, versions) => {
                let end = Hour(first.0 + versions.len() as i64);
                let hours = self.sealed.read_hours(entity, *first, end).await?;
                let (hours, missing) =
                    under_versions(hours, first.0, versions, |hour| (hour.hour.0, hour.version));
                let mut counted = Vec::new();
                for hour in hours {
                    let begin = hour.hour.first_minute().0;
                    let minutes = hour.minutes.into_iter();
                    counted.extend(
                        minutes.map(|(place, counters)| minute(Minute(begin + i64::from(place)), counters)),
                    );
                }
                Ok(Found { counted, missing })
            }
            Origin::Partials if !entity.is_counted_live() => Ok(Found::nothing()),
            Origin::Partials => {
                let (from, to) = (Minute(piece.minutes.start), Minute(piece.minutes.end));
                let buckets: Vec<Bucket> = self.buckets.read(entity, from, to).await?;
                let counted = buckets
                    .into_iter()
                    .map(|bucket| minute(bucket.minute, bucket.counters));
                Ok(Found {
                    counted: counted.collect(),
                    missing: false,
                })
            }
        }
    }
}
