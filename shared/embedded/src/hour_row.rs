//! The stored form of the partials of one entity and shard in one hour: a row of `buckets`.
//!
//! `totals`: for each minute that has a partial, in order, its place in the hour (one byte) and its totals. `cells`: for each
//! of them, in the same order, the watermark's distance from the one before (a zigzag varint) and its cells. So a month's
//! totals are some hundred short rows. `clickledger_core::domain::packed` has the forms of totals and cells.

use clickledger_core::domain::counter::Counters;

use crate::failure::Damaged;
use clickledger_core::domain::packed::{self, Totals};

/// Minutes in an hour: places are below.
pub(crate) const PLACES: u8 = 60;

/// One partial of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'r> {
    /// Its minute's place in the hour.
    pub(crate) place: u8,
    pub(crate) watermark: i64,
    totals: &'r [u8],
    cells: &'r [u8],
}

impl Stored<'_> {
    /// Adds its counters.
    pub(crate) fn add(&self, counters: &mut Counters) -> Result<(), Damaged> {
        Ok(packed::add(self.totals, self.cells, counters)?)
    }
}

fn take_place(totals: &mut &[u8]) -> Result<u8, Damaged> {
    let (place, rest) = totals.split_first().ok_or(Damaged("count"))?;
    *totals = rest;
    if *place < PLACES {
        Ok(*place)
    } else {
        Err(Damaged("minute"))
    }
}

/// The part of `whole` before `rest`, which is its end.
fn before<'r>(whole: &'r [u8], rest: &[u8]) -> &'r [u8] {
    &whole[..whole.len() - rest.len()]
}

/// The partials of a row, in order.
pub(crate) struct Partials<'r> {
    totals: &'r [u8],
    cells: &'r [u8],
    watermark: i64,
}

impl<'r> Partials<'r> {
    pub(crate) fn of(totals: &'r [u8], cells: &'r [u8]) -> Self {
        Self {
            totals,
            cells,
            watermark: 0,
        }
    }

    fn take(&mut self) -> Result<Stored<'r>, Damaged> {
        let place = take_place(&mut self.totals)?;
        let zigzag = packed::take(&mut self.cells)?;
        let distance = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        self.watermark = self.watermark.wrapping_add(distance);
        let (totals, cells) = (self.totals, self.cells);
        packed::take_totals(&mut self.totals)?;
        packed::skip_cells(&mut self.cells)?;
        Ok(Stored {
            place,
            watermark: self.watermark,
            totals: before(totals, self.totals),
            cells: before(cells, self.cells),
        })
    }
}

impl<'r> Iterator for Partials<'r> {
    type Item = Result<Stored<'r>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.totals.is_empty() {
            return None;
        }
        let taken = self.take();
        if taken.is_err() {
            self.totals = &[];
        }
        Some(taken)
    }
}

/// The totals of a row's partials, by place, in order; needs `totals` alone.
pub(crate) struct TotalsOf<'r>(pub(crate) &'r [u8]);

impl Iterator for TotalsOf<'_> {
    type Item = Result<(u8, Totals), Damaged>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let taken = take_place(&mut self.0).and_then(|place| Ok((place, packed::take_totals(&mut self.0)?)));
        if taken.is_err() {
            self.0 = &[];
        }
        Some(taken)
    }
}

/// A row that is being put together, its partials in order.
#[derive(Default)]
pub(crate) struct NewRow {
    pub(crate) totals: Vec<u8>,
    pub(crate) cells: Vec<u8>,
    watermark: i64,
}

impl NewRow {
    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.totals.clear();
        self.cells.clear();
        self.watermark = 0;
    }

    fn begin(&mut self, place: u8, watermark: i64) {
        self.totals.push(place);
        let distance = watermark.wrapping_sub(self.watermark);
        packed::put(&mut self.cells, (distance << 1 ^ distance >> 63).cast_unsigned());
        self.watermark = watermark;
    }

    /// Adds a partial.
    pub(crate) fn push(&mut self, place: u8, watermark: i64, counters: &Counters) {
        self.begin(place, watermark);
        packed::push(counters, &mut self.totals, &mut self.cells);
    }

    /// Adds one as it was stored.
    pub(crate) fn keep(&mut self, stored: &Stored<'_>) {
        self.begin(stored.place, stored.watermark);
        self.totals.extend_from_slice(stored.totals);
        self.cells.extend_from_slice(stored.cells);
    }
}

#[cfg(test)]
mod tests {
    use clickledger_core::domain::counter::CounterKey;
    use clickledger_core::domain::country::Country;
    use clickledger_core::domain::device::Device;
    use clickledger_core::domain::verdict::Verdict;

    use super::*;

    fn counters(n: u64) -> Counters {
        let cell = |device| CounterKey::of(Verdict::Valid, device, Country::ZZ);
        let bot = CounterKey::of(Verdict::Bot, Device::Mobile, Country::ZZ);
        [
            (cell(Device::Mobile), n),
            (cell(Device::Tablet), n * 200),
            (bot, n / 2),
        ]
        .into_iter()
        .collect()
    }

    /// Also watermarks that fall from minute to minute, and the outermost ones.
    const WATERMARKS: [(u8, i64); 6] = [
        (0, 7),
        (1, 5),
        (2, i64::MAX),
        (30, 0),
        (58, 1 << 40),
        (59, i64::MAX),
    ];

    fn row() -> NewRow {
        let mut row = NewRow::default();
        for (place, watermark) in WATERMARKS {
            row.push(place, watermark, &counters(u64::from(place)));
        }
        row
    }

    #[test]
    fn partials_come_back_in_order_and_can_be_kept_as_they_are() {
        let row = row();
        let mut copy = NewRow::default();
        for (stored, (place, watermark)) in Partials::of(&row.totals, &row.cells).zip(WATERMARKS) {
            let stored = stored.unwrap();
            assert_eq!((stored.place, stored.watermark), (place, watermark));
            let mut back = Counters::default();
            stored.add(&mut back).unwrap();
            assert_eq!(back, counters(u64::from(place)));
            copy.keep(&stored);
        }
        assert_eq!((&copy.totals, &copy.cells), (&row.totals, &row.cells));
        for (of, (place, _)) in TotalsOf(&row.totals).zip(WATERMARKS) {
            let mut sums = [0; 9];
            packed::fold(&counters(u64::from(place)), &mut sums);
            assert_eq!(of.unwrap(), (place, sums));
        }
        assert_eq!(TotalsOf(&row.totals).count(), WATERMARKS.len());
    }

    #[test]
    fn cut_rows_are_noticed_and_end() {
        let row = row();
        let cut = &row.cells[..row.cells.len() - 1];
        let read: Vec<_> = Partials::of(&row.totals, cut).collect();
        assert_eq!(read.len(), WATERMARKS.len());
        assert!(read.last().unwrap().is_err());
        let cut = &row.totals[..row.totals.len() - 1];
        assert!(Partials::of(cut, &row.cells).last().unwrap().is_err());
        assert!(TotalsOf(cut).last().unwrap().is_err());
        assert!(TotalsOf(&[60, 0, 0]).next().unwrap().is_err(), "no such minute");
    }
}
