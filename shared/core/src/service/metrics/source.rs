//! Where a query's counts come from: sealed days, sealed hours, and for the rest partials.
//!
//! Manifests are read first. A UTC day that is sealed is one item by the quarter-hour, where the query cuts it at quarter-hours
//! only (which every time zone's days and hours are); else its hours are, each one item by the minute if it is sealed and its
//! partials if not.
//!
//! An unsealed hour whose partials may have expired ([`MetricsConfig::partials_life_ms`](super::MetricsConfig)) is not read at
//! all: it is [`CountState::Incomplete`]. Partials are never forgotten otherwise before their hour is sealed, so age alone tells.
//!
//! What became of a sealed day's hours since it was sealed (clicks that came late, a proof that failed) need not be looked up in
//! their manifests, 24 for one: it sets the day aside. That they were closed is not told of a day.
//!
//! Invariant: each minute comes from exactly one place, under the version that the manifests named. In a sealed place no item
//! means no click, unless its version has been forgotten in the meantime: then the manifests are others by now, which
//! [`Layout::is_still`] tells.

use std::ops::Range;
use std::sync::Arc;

use super::calendar::Calendar;
use super::standing::{CountState, Standings};
use crate::domain::manifest::{HourState, Manifest};
use crate::domain::sealed::QUARTER_MINUTES;
use crate::domain::time::{Day, Hour};
use crate::ports::{BucketStore, Manifests, PortResult, SealedCounts};

const DAY_MINUTES: i64 = 1440;
/// Minutes of one read without cells: a month, so that the longest query by the minute is one read.
pub(super) const TOTALS_STRETCH: i64 = 32 * DAY_MINUTES;
/// Minutes of one read with cells, of which a busy minute has hundreds.
const CELLS_STRETCH: i64 = 7 * DAY_MINUTES;
/// Hours whose manifests are read at once: two months.
const MANIFESTS_STRETCH: i64 = 62 * 24;
/// Days of one read of sealed days without cells: a year and the day that a time zone adds.
const TOTALS_DAYS: i64 = 367;
/// The same with cells.
const CELLS_DAYS: i64 = 62;

/// The stores that counts are read from.
#[derive(Clone)]
pub struct CountStores {
    /// Partials.
    pub buckets: Arc<dyn BucketStore>,
    /// Which hours and days are sealed.
    pub manifests: Arc<dyn Manifests>,
    /// Sealed hours and days.
    pub sealed: Arc<dyn SealedCounts>,
}

/// What a piece of the range is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// Sealed days, one after another, and their versions.
    Days(Day, Vec<u64>),
    /// Sealed hours, one after another, and their versions.
    Hours(Hour, Vec<u64>),
    /// Partials.
    Partials,
}

/// A piece of the range that is one read.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) origin: Origin,
    pub(super) minutes: Range<i64>,
}

/// What is wanted of the counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Their cells, not only their totals.
    pub(super) cells: bool,
    /// Sealed days may answer: no single minute is asked for.
    pub(super) by_days: bool,
}

/// Where everything is read from.
pub(super) struct Layout {
    pub(super) pieces: Vec<Piece>,
    pub(super) standings: Standings,
}

impl Layout {
    /// Reads the manifests of a query's minutes.
    pub(super) async fn read(
        stores: &CountStores,
        calendar: &Calendar,
        Wanted { cells, by_days }: Wanted,
        lost_before_ms: Option<i64>,
    ) -> PortResult<Self> {
        let range = calendar.first_minute()..calendar.last_minute();
        let mut drawing = Drawing {
            layout: Self {
                pieces: Vec::new(),
                standings: Standings::default(),
            },
            cells,
            lost_before_ms,
        };
        let days = if by_days {
            whole_days(stores, calendar, &range).await?
        } else {
            Vec::new()
        };
        let mut at = range.start;
        for (day, version) in days {
            let minutes = minutes_of_day(day);
            let minutes = minutes.start.max(range.start)..minutes.end.min(range.end);
            drawing.hours(stores, at..minutes.start).await?;
            at = minutes.end;
            drawing.layout.standings.push(minutes.clone(), CountState::Sealed);
            drawing.day(day, version, minutes);
        }
        drawing.hours(stores, at..range.end).await?;
        Ok(drawing.layout)
    }

    /// Whether something is sealed in these minutes.
    pub(super) fn has_sealed(&self, minutes: &Range<i64>) -> bool {
        let first = self
            .pieces
            .partition_point(|piece| piece.minutes.end <= minutes.start);
        self.pieces[first..]
            .iter()
            .take_while(|piece| piece.minutes.start < minutes.end)
            .any(|piece| piece.origin != Origin::Partials)
    }

    /// Whether every version that `self` reads from is also read from in `later`: then no item of it was forgotten before
    /// `later` was read.
    pub(super) fn is_still(&self, later: &Self) -> bool {
        let later = later.versions();
        self.versions()
            .iter()
            .all(|version| later.binary_search(version).is_ok())
    }

    /// Every sealed place with its version, in order.
    pub(super) fn versions(&self) -> Vec<(Place, u64)> {
        let mut all = Vec::new();
        for piece in &self.pieces {
            match &piece.origin {
                Origin::Days(first, versions) => all.extend(
                    (first.0..)
                        .map(|day| Place::Day(Day(day)))
                        .zip(versions.iter().copied()),
                ),
                Origin::Hours(first, versions) => all.extend(
                    (first.0..)
                        .map(|hour| Place::Hour(Hour(hour)))
                        .zip(versions.iter().copied()),
                ),
                Origin::Partials => {}
            }
        }
        all.sort_unstable();
        all
    }
}

/// What is sealed under one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Day(Day),
    Hour(Hour),
}

fn minutes_of_day(day: Day) -> Range<i64> {
    let first = day.first_hour().first_minute().0;
    first..first + DAY_MINUTES
}

/// The sealed days of the range that the calendar cuts at quarter-hours only, with their versions.
async fn whole_days(
    stores: &CountStores,
    calendar: &Calendar,
    range: &Range<i64>,
) -> PortResult<Vec<(Day, u64)>> {
    let day_of = |minute: i64| minute.div_euclid(DAY_MINUTES);
    let mut cut_within: Vec<i64> = calendar
        .boundaries()
        .filter(|boundary| boundary % QUARTER_MINUTES != 0)
        .map(day_of)
        .collect();
    cut_within.dedup();
    let is_whole = |day: &i64| cut_within.binary_search(day).is_err();
    let mut days = day_of(range.start)..day_of(range.end - 1) + 1;
    let (Some(first), Some(last)) = (days.clone().find(is_whole), days.rfind(is_whole)) else {
        return Ok(Vec::new());
    };
    let found = stores.manifests.days(Day(first), Day(last + 1)).await?;
    let sealed = found
        .into_iter()
        .filter(|found| found.version > 0 && is_whole(&found.day.0));
    Ok(sealed.map(|found| (found.day, found.version)).collect())
}

/// A layout under way.
struct Drawing {
    layout: Layout,
    cells: bool,
    lost_before_ms: Option<i64>,
}

impl Drawing {
    fn day(&mut self, day: Day, version: u64, minutes: Range<i64>) {
        let most = if self.cells { CELLS_DAYS } else { TOTALS_DAYS };
        if let Some(piece) = self.layout.pieces.last_mut()
            && let Origin::Days(first, versions) = &mut piece.origin
            && first.0 + versions.len() as i64 == day.0
            && (versions.len() as i64) < most
        {
            versions.push(version);
            piece.minutes.end = minutes.end;
            return;
        }
        self.layout.pieces.push(Piece {
            origin: Origin::Days(day, vec![version]),
            minutes,
        });
    }

    /// Draws minutes that are in no sealed day.
    async fn hours(&mut self, stores: &CountStores, minutes: Range<i64>) -> PortResult<()> {
        if minutes.is_empty() {
            return Ok(());
        }
        let hours = minutes.start.div_euclid(60)..(minutes.end + 59).div_euclid(60);
        for first in hours.clone().step_by(MANIFESTS_STRETCH as usize) {
            let last = hours.end.min(first + MANIFESTS_STRETCH);
            let manifests = stores.manifests.hours(Hour(first), Hour(last)).await?;
            let mut manifests = manifests.iter().peekable();
            for hour in (first..last).map(Hour) {
                let manifest = manifests.next_if(|manifest| manifest.hour == hour);
                let begin = hour.first_minute().0;
                self.hour(
                    hour,
                    manifest,
                    begin.max(minutes.start)..(begin + 60).min(minutes.end),
                );
            }
        }
        Ok(())
    }

    fn hour(&mut self, hour: Hour, manifest: Option<&Manifest>, minutes: Range<i64>) {
        let lost = self
            .lost_before_ms
            .is_some_and(|before_ms| hour.start_ms() < before_ms);
        let state = state_of(manifest, lost);
        self.layout.standings.push(minutes.clone(), state);
        if state == CountState::Incomplete {
            return;
        }
        let version = manifest.map_or(0, |manifest| manifest.version);
        let most = if self.cells { CELLS_STRETCH } else { TOTALS_STRETCH };
        if let Some(piece) = self.layout.pieces.last_mut()
            && piece.minutes.end == minutes.start
            && minutes.end - piece.minutes.start <= most
        {
            match &mut piece.origin {
                Origin::Hours(_, versions) if version > 0 => {
                    versions.push(version);
                    piece.minutes.end = minutes.end;
                    return;
                }
                Origin::Partials if version == 0 => {
                    piece.minutes.end = minutes.end;
                    return;
                }
                _ => {}
            }
        }
        let origin = if version > 0 {
            Origin::Hours(hour, vec![version])
        } else {
            Origin::Partials
        };
        self.layout.pieces.push(Piece { origin, minutes });
    }
}

/// What is said of an hour's counts. A closed hour's stand, whatever came since: that is owed as an adjustment.
fn state_of(manifest: Option<&Manifest>, lost: bool) -> CountState {
    match manifest {
        Some(manifest) if manifest.is_sealed() => match manifest.state {
            HourState::Closed => CountState::Closed,
            HourState::Disputed => CountState::Disputed,
            HourState::Open | HourState::Sealed if manifest.is_dirty() => CountState::Dirty,
            HourState::Open | HourState::Sealed => CountState::Sealed,
        },
        _ if lost => CountState::Incomplete,
        Some(manifest) if manifest.state == HourState::Disputed => CountState::Disputed,
        Some(manifest) if manifest.is_dirty() => CountState::Dirty,
        _ => CountState::Open,
    }
}
