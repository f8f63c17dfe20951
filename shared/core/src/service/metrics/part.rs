//! One range of a query, from the plan to the page.
//!
//! Invariant: a page is read from one state of the manifests, or read again.

use futures_util::{StreamExt, stream};
use jiff::tz::TimeZone;

use super::assemble::{Found, assemble};
use super::calendar::Calendar;
use super::fold::Fold;
use super::page::MetricsPage;
use super::query::{self, MetricsQuery, Plan, QueryError};
use super::source::{Layout, Wanted};
use super::words::GroupBy;
use super::{MetricsService, READS_AT_ONCE, TRIES, cursor, row};
use crate::domain::entity::Entity;
use crate::ports::{PortError, PortResult};

/// A range, and where its counts are.
pub(super) struct Part {
    pub(super) query: MetricsQuery,
    pub(super) plan: Plan,
    pub(super) calendar: Calendar,
    /// The row that the page begins with.
    pub(super) first_row: usize,
    pub(super) layout: Layout,
    /// Whose counts its rows are, where they are broken down by ad or placement.
    pub(super) members: Vec<Entity>,
    pub(super) as_of_ms: i64,
}

impl Part {
    pub(super) fn zone(&self) -> &TimeZone {
        &self.plan.zone
    }
}

impl MetricsService {
    pub(super) async fn part(&self, query: MetricsQuery) -> Result<Part, QueryError> {
        let plan = Plan::new(&query, &self.config)?;
        let calendar = Calendar::new(&plan, query.granularity);
        let first_row = first_row(&query, &plan, &calendar)?;
        let as_of_ms = self.clock.now_ms();
        let layout = self.layout(&query, &plan, &calendar, as_of_ms).await?;
        let members = self.members(&query, &plan, &calendar).await?;
        Ok(Part {
            query,
            plan,
            calendar,
            first_row,
            layout,
            members,
            as_of_ms,
        })
    }

    async fn layout(
        &self,
        query: &MetricsQuery,
        plan: &Plan,
        calendar: &Calendar,
        now_ms: i64,
    ) -> Result<Layout, PortError> {
        let lost_before_ms = self.config.partials_life_ms.map(|life_ms| now_ms - life_ms);
        let wanted = Wanted {
            cells: query.needs_cells(),
            by_days: plan.by_days,
        };
        Layout::read(&self.stores, calendar, wanted, lost_before_ms).await
    }

    /// Reads the counts; the part's layout becomes the one that they are from.
    pub(super) async fn read(&self, part: &mut Part) -> Result<MetricsPage, QueryError> {
        for _ in 0..TRIES {
            let found = match part.query.group_by {
                GroupBy::Ad | GroupBy::Placement => self.by_member(part).await?,
                _ => {
                    let (fold, missing) = self.fold(part, part.query.entity, part.query.group_by).await?;
                    Found::of(part, &fold, missing)
                }
            };
            // In a sealed hour no item means no click, unless a later version took the item's place while we read.
            if found.missing {
                let later = self
                    .layout(&part.query, &part.plan, &part.calendar, part.as_of_ms)
                    .await?;
                if !part.layout.is_still(&later) {
                    part.layout = later;
                    part.members = self.members(&part.query, &part.plan, &part.calendar).await?;
                    continue;
                }
            }
            return Ok(assemble(part, found));
        }
        Err(PortError::unavailable("hours of the range are being sealed anew").into())
    }

    /// Reads and folds every piece of an entity, and says whether a sealed one of them had no item.
    pub(super) async fn fold<'a>(
        &self,
        part: &'a Part,
        entity: Entity,
        group_by: GroupBy,
    ) -> PortResult<(Fold<'a>, bool)> {
        let (stores, pieces) = (&self.stores, &part.layout.pieces);
        let mut fold = Fold::new(&part.plan, group_by, &part.calendar, part.first_row);
        let mut missing = false;
        if part.query.needs_cells() {
            let reads: Vec<_> = pieces.iter().map(|piece| stores.cells(entity, piece)).collect();
            let mut reads = stream::iter(reads).buffered(READS_AT_ONCE);
            while let Some(found) = reads.next().await {
                let found = found?;
                missing |= found.missing;
                fold.cells(&found.counted, &part.query.filter, |counted| {
                    row::group_of(group_by, counted)
                });
            }
        } else {
            let reads: Vec<_> = pieces.iter().map(|piece| stores.totals(entity, piece)).collect();
            let mut reads = stream::iter(reads).buffered(READS_AT_ONCE);
            while let Some(found) = reads.next().await {
                let found = found?;
                missing |= found.missing;
                fold.totals(&found.counted);
            }
        }
        Ok((fold.finish(), missing))
    }
}

/// The row that the page begins with: the one after the cursor's, or with a breakdown the cursor's own, which may have more
/// groups.
fn first_row(query: &MetricsQuery, plan: &Plan, calendar: &Calendar) -> Result<usize, QueryError> {
    let Some(after) = plan.after else { return Ok(0) };
    let row = calendar
        .row_at(after.start)
        .ok_or_else(|| query::bad_cursor(cursor::BadCursor::NotOurs))?;
    Ok(if query.group_by == GroupBy::None {
        row + 1
    } else {
        row
    })
}
