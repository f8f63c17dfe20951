//! A breakdown by ad: every ad's own counts, read one ad after another, and of them the rows of the page.
//!
//! An ad's counts are its own, wherever it belongs: under a campaign an ad that was moved there brings the clicks of before
//! along, while the campaign's totals are what was clicked in it. Ads never change their advertiser, so its ads add up to it.
//!
//! Invariant: whatever the ads and the range, no more rows are held than two pages and one ad have.

use std::cmp::Reverse;

use futures_util::{StreamExt, stream};

use super::MetricsService;
use super::assemble::Found;
use super::cursor::Position;
use super::fold::{Counts, Fold, Kept};
use super::part::Part;
use super::row::MetricsRow;
use super::words::GroupBy;
use crate::domain::entity::Entity;
use crate::domain::ids::AdId;
use crate::ports::PortResult;

/// Ads that are read at the same time.
const ADS_AT_ONCE: usize = 8;

/// What one ad has in one row.
struct AdRow {
    /// When the row begins, Unix minutes.
    start: i64,
    ad: AdId,
    counts: Counts,
}

/// The first rows of a page, and one more that tells whether there is another page.
struct Rows {
    found: Vec<AdRow>,
    most: usize,
    by_clicks: bool,
}

impl Rows {
    fn take(&mut self, rows: impl Iterator<Item = AdRow>) {
        self.found.extend(rows);
        if self.found.len() > 2 * self.most {
            self.settle();
        }
    }

    fn settle(&mut self) {
        if self.by_clicks {
            self.found
                .sort_unstable_by_key(|row| (Reverse(row.counts.valid()), row.ad));
        } else {
            self.found.sort_unstable_by_key(|row| (row.start, row.ad));
        }
        self.found.truncate(self.most);
    }
}

impl MetricsService {
    /// The rows of the entity's ads, and its own totals.
    pub(super) async fn by_ad(&self, part: &Part) -> PortResult<Found> {
        let (own, mut missing) = self.fold(part, part.query.entity, GroupBy::None).await?;
        let mut rows = Rows {
            found: Vec::new(),
            most: part.plan.limit + 1,
            by_clicks: part.query.order.is_some(),
        };
        let ads = part.query.ads.iter().copied();
        let reads: Vec<_> = ads
            .map(|ad| async move { (ad, self.fold(part, Entity::Ad(ad), GroupBy::Ad).await) })
            .collect();
        let mut reads = stream::iter(reads).buffered(ADS_AT_ONCE);
        while let Some((ad, found)) = reads.next().await {
            let (fold, lacks) = found?;
            missing |= lacks;
            rows.take(of_ad(part, ad, &fold));
        }
        rows.settle();
        let more = rows.found.len() > part.plan.limit;
        rows.found.truncate(part.plan.limit);
        let last = rows.found.last().filter(|_| more && part.query.order.is_none());
        let last = last.map(|row| Position {
            start: row.start,
            group: row.ad.0,
        });
        let row = |row: &AdRow| {
            let start = part.calendar.local(row.start);
            MetricsRow::whole(start, Some(row.ad), &row.counts, part.plan.of_rows)
        };
        Ok(Found {
            rows: rows.found.iter().map(row).collect(),
            last,
            totals: own.totals,
            peak: own.peak,
            missing,
        })
    }
}

/// The ad's rows from the cursor on that have a click, as many as a page may need.
fn of_ad<'a>(part: &'a Part, ad: AdId, fold: &'a Fold<'_>) -> impl Iterator<Item = AdRow> + 'a {
    let (kept, kept_from): (&[Counts], usize) = match &fold.kept {
        Kept::Plain(kept) => (kept, fold.wanted.start),
        Kept::Grouped(_) => (&[], 0),
    };
    let mut sum = Counts::default();
    let (mut dropped, mut added) = (kept_from, kept_from);
    let after = part.plan.after;
    let rows = (part.first_row..part.calendar.rows()).filter_map(move |row| {
        let window = part.calendar.window_of(row);
        kept[added - kept_from..window.end - kept_from]
            .iter()
            .for_each(|counts| sum.add(counts));
        kept[dropped - kept_from..window.start - kept_from]
            .iter()
            .for_each(|counts| sum.subtract(counts));
        (dropped, added) = (window.start, window.end);
        let start = part.calendar.start_of(row);
        let shown = after.is_some_and(|after| after.start == start && ad.0 <= after.group);
        (!sum.is_empty() && !shown).then_some(AdRow {
            start,
            ad,
            counts: sum,
        })
    });
    rows.take(part.plan.limit + 1)
}
