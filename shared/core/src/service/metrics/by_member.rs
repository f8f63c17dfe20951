//! A breakdown by members, an entity's ads or an advertiser's placements: every member's own counts, read one after another,
//! and of them the rows of the page.
//!
//! An ad's counts are its own, wherever it belongs: under a campaign an ad that was moved there brings the clicks of before
//! along, while the campaign's totals are what was clicked in it. Ads never change their advertiser, so its ads add up to it.
//!
//! A placement's are the advertiser's clicks that came by it. They are in sealed hours and days alone, so a period of which
//! nothing is sealed has no row of any placement.
//!
//! Invariant: whatever the members and the range, no more rows are held than two pages and one member have.

use std::cmp::Reverse;

use futures_util::{StreamExt, stream};

use super::MetricsService;
use super::assemble::Found;
use super::calendar::Calendar;
use super::cursor::Position;
use super::fold::{Counts, Fold, Kept};
use super::part::Part;
use super::query::{MetricsQuery, Plan, QueryError, check_members, local_length_ms};
use super::row::MetricsRow;
use super::words::GroupBy;
use crate::domain::entity::Entity;
use crate::domain::ids::AdvertiserId;
use crate::domain::time::{Hour, Minute};
use crate::ports::PortResult;

/// Members that are read at the same time.
const MEMBERS_AT_ONCE: usize = 8;
/// Minutes of an hour, less one: what a range needs to reach the end of its last hour.
const REST_OF_HOUR: i64 = 59;

/// What one member has in one row.
struct MemberRow {
    /// When the row begins, Unix minutes.
    start: i64,
    member: Entity,
    counts: Counts,
}

/// The first rows of a page, and one more that tells whether there is another page.
struct Rows {
    found: Vec<MemberRow>,
    most: usize,
    by_clicks: bool,
}

impl Rows {
    fn take(&mut self, rows: impl Iterator<Item = MemberRow>) {
        self.found.extend(rows);
        if self.found.len() > 2 * self.most {
            self.settle();
        }
    }

    fn settle(&mut self) {
        if self.by_clicks {
            self.found
                .sort_unstable_by_key(|row| (Reverse(row.counts.valid()), row.member));
        } else {
            self.found.sort_unstable_by_key(|row| (row.start, row.member));
        }
        self.found.truncate(self.most);
    }
}

/// The member's own id: what tells its rows from those of the others of an answer.
fn id_of(member: Entity) -> u64 {
    match member {
        Entity::Ad(id) => id.0,
        Entity::Campaign(id) => id.0,
        Entity::Advertiser(id) => id.0,
        Entity::Placement(id) | Entity::AdvertiserPlacement(_, id) => id.0,
        Entity::Total => 0,
    }
}

impl MetricsService {
    /// Whose counts rows are broken down into, in order; nobody's without such a breakdown. Placements are asked of what is
    /// stored: so this comes after the manifests were read, whose versions hold none that was not there before.
    pub(super) async fn members(
        &self,
        query: &MetricsQuery,
        plan: &Plan,
        calendar: &Calendar,
    ) -> Result<Vec<Entity>, QueryError> {
        match (query.group_by, query.entity) {
            (GroupBy::Ad, _) => Ok(query.ads.iter().copied().map(Entity::Ad).collect()),
            (GroupBy::Placement, Entity::Advertiser(advertiser)) => {
                let from = Minute(calendar.first_minute()).hour();
                let to = Minute(calendar.last_minute() + REST_OF_HOUR).hour();
                let found = self.placements_of(advertiser, from, to).await?;
                check_members(
                    query,
                    &self.config,
                    local_length_ms(query, &plan.zone),
                    found.len(),
                )?;
                Ok(found)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The advertiser's pairs with placements: one more than may be told apart, where there are more.
    async fn placements_of(&self, advertiser: AdvertiserId, from: Hour, to: Hour) -> PortResult<Vec<Entity>> {
        let limit = self.config.max_ads + 1;
        let found = self.stores.sealed.placements(advertiser, from, to, None, limit);
        let pair = |placement| Entity::AdvertiserPlacement(advertiser, placement);
        Ok(found.await?.into_iter().map(pair).collect())
    }

    /// The rows of the entity's members, and its own totals.
    pub(super) async fn by_member(&self, part: &Part) -> PortResult<Found> {
        let (own, mut missing) = self.fold(part, part.query.entity, GroupBy::None).await?;
        let mut rows = Rows {
            found: Vec::new(),
            most: part.plan.limit + 1,
            by_clicks: part.query.order.is_some(),
        };
        let group_by = part.query.group_by;
        let reads: Vec<_> = part
            .members
            .iter()
            .map(|member| async move { (*member, self.fold(part, *member, group_by).await) })
            .collect();
        let mut reads = stream::iter(reads).buffered(MEMBERS_AT_ONCE);
        while let Some((member, found)) = reads.next().await {
            let (fold, lacks) = found?;
            missing |= lacks;
            rows.take(of_member(part, member, &fold));
        }
        rows.settle();
        let more = rows.found.len() > part.plan.limit;
        rows.found.truncate(part.plan.limit);
        let last = rows.found.last().filter(|_| more && part.query.order.is_none());
        let last = last.map(|row| Position {
            start: row.start,
            group: id_of(row.member),
        });
        let row = |row: &MemberRow| {
            let start = part.calendar.local(row.start);
            MetricsRow::whole(start, &row.counts, part.plan.of_rows).of_member(row.member)
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

/// The member's rows from the cursor on that have a click, as many as a page may need.
fn of_member<'a>(part: &'a Part, member: Entity, fold: &'a Fold<'_>) -> impl Iterator<Item = MemberRow> + 'a {
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
        let shown = after.is_some_and(|after| after.start == start && id_of(member) <= after.group);
        if sum.is_empty() || shown {
            return None;
        }
        // A window may reach back to what is sealed; the row's own time must, too.
        let own = start..part.calendar.end_of(part.calendar.segment_of(row));
        let known = member.is_counted_live() || part.layout.has_sealed(&own);
        known.then_some(MemberRow {
            start,
            member,
            counts: sum,
        })
    });
    rows.take(part.plan.limit + 1)
}
