//! The first look at a recount: does it agree with itself, and what would it change? Nothing is written here.
//!
//! Invariant: a recount is believed only if every row is of the clicks that the deltas are of, and its control totals agree.

use std::collections::BTreeSet;

use super::compare::{Difference, Evidence, Ground, Minutes, compare};
use super::control::{ByPlace, ControlTotals};
use super::deltas::Deltas;
use super::{Reconcile, each};
use crate::domain::counter::Counters;
use crate::domain::entity::Entity;
use crate::domain::manifest::{HourState, LakeTotals, Manifest};
use crate::domain::time::{Hour, Minute};
use crate::ports::{AdFilter, PortResult, Recount, RecountRow};

/// Some rows of a recount, whole entities.
pub(super) struct Slice {
    pub(super) entities: Vec<(Entity, Vec<RecountRow>)>,
    /// The row after them.
    pub(super) next: u64,
    /// Whether they are the last.
    pub(super) last: bool,
}

/// An entity that was counted, and of which the lake has nothing.
pub(super) struct Vanished {
    pub(super) entity: Entity,
    pub(super) before: Minutes,
}

/// What a recount would change.
#[derive(Default)]
pub(super) struct Survey {
    /// The lake's totals, `valid` included.
    pub(super) lake: LakeTotals,
    /// Gross and valid clicks that were counted before.
    pub(super) counted: (u64, u64),
    /// Minutes of entities that differ, pairs aside.
    pub(super) differences: u64,
    /// What is lowered and may not be, in words.
    pub(super) lost: Option<String>,
    pub(super) vanished: Vec<Vanished>,
    /// Whether what is sealed lacks a pair, or has other counts of one. That is no difference by itself: a pair's clicks are its
    /// advertiser's and its placement's too.
    pub(super) pairs_differ: bool,
}

impl Survey {
    /// Whether pairs are reason enough to seal the hour anew. Of a closed hour that is owed adjustments nobody would see them:
    /// what is known since lies in another version than what was billed.
    pub(super) fn lacks_pairs(&self, base: &Manifest) -> bool {
        self.pairs_differ && (base.state != HourState::Closed || base.adjusted == 0)
    }
}

/// Most rows of one entity.
const ROWS: usize = 60;

/// The place of a minute in its hour.
pub(super) fn place(minute: Minute) -> u8 {
    minute.0.rem_euclid(60) as u8
}

/// An entity's rows after the deltas; `None` where they are of other clicks.
pub(super) fn after(rows: &[RecountRow], deltas: &Deltas) -> Option<Minutes> {
    let minute = |row: &RecountRow| Some((place(row.minute), deltas.apply(row)?));
    rows.iter().map(minute).collect()
}

/// What an entity's rows change.
pub(super) fn differences(
    ground: Ground,
    before: &[(u8, Counters)],
    after: &[(u8, Counters)],
    rows: &[RecountRow],
    deltas: &Deltas,
) -> Vec<Difference> {
    compare(ground, before, after, |at| {
        let Some(row) = rows.iter().find(|row| place(row.minute) == at) else {
            return Evidence::default();
        };
        let delta = deltas.of(row);
        Evidence {
            repeats: row.rows.saturating_sub(row.clicks),
            promoted: delta.is_some_and(|delta| delta.promoted),
            unclaimed: delta.is_some_and(|delta| delta.unclaimed > 0),
        }
    })
}

/// What is lost, for a person.
pub(super) fn told(hour: Hour, entity: Entity, difference: &Difference) -> String {
    let minute = hour.first_minute().0 + i64::from(difference.place);
    format!(
        "{entity} has {} clicks in minute {minute}, but {} were counted",
        difference.after.gross(),
        difference.before.gross()
    )
}

impl Reconcile {
    /// Rows from this one on.
    pub(super) async fn slice(&self, recount: &str, from: u64) -> PortResult<Slice> {
        let limit = self.config.slice_rows.max(ROWS + 1);
        let mut rows = self.ports.lake.rows(recount, from, limit).await?;
        let last = rows.len() < limit;
        if !last && let Some(end) = rows.last().map(|row| row.entity) {
            // The last entity may go on behind the limit.
            let whole = rows.partition_point(|row| row.entity != end);
            rows.truncate(if whole == 0 { rows.len() } else { whole });
        }
        let next = from + rows.len() as u64;
        let mut entities: Vec<(Entity, Vec<RecountRow>)> = Vec::new();
        for row in rows {
            match entities.last_mut().filter(|(entity, _)| *entity == row.entity) {
                Some((_, rows)) => rows.push(row),
                None => entities.push((row.entity, vec![row])),
            }
        }
        Ok(Slice { entities, next, last })
    }

    /// What readers see of these entities, or (of a closed hour) what is owed already.
    pub(super) async fn before(&self, entities: &[Entity], base: &Manifest) -> PortResult<Vec<Minutes>> {
        let calls = entities.iter().map(|entity| self.before_of(*entity, base));
        each(calls.collect(), self.config.at_once).await
    }

    async fn before_of(&self, entity: Entity, base: &Manifest) -> PortResult<Minutes> {
        let (hour, next) = (base.hour, Hour(base.hour.0 + 1));
        if base.is_sealed() {
            let version = self.compared_with(base);
            let found = self.ports.counts.read_hours(entity, hour, next).await?;
            let found = found.into_iter().find(|item| item.version == version);
            return Ok(found.map(|item| item.minutes).unwrap_or_default());
        }
        if !entity.is_counted_live() {
            return Ok(Minutes::new());
        }
        let (from, to) = (hour.first_minute(), next.first_minute());
        let found = self.ports.buckets.read(entity, from, to).await?;
        let minutes = found
            .into_iter()
            .map(|bucket| (place(bucket.minute), bucket.counters));
        Ok(minutes.filter(|(_, counters)| !counters.is_empty()).collect())
    }

    /// Goes through the whole recount; `None` where it is not to be believed: the lake changed while it was made.
    pub(super) async fn survey(
        &self,
        ground: Ground,
        recount: &Recount,
        base: &Manifest,
        deltas: &Deltas,
    ) -> PortResult<Option<Survey>> {
        let mut survey = Survey {
            lake: recount.totals,
            ..Survey::default()
        };
        let mut total_before = ByPlace::default();
        for minutes in self.before(&[Entity::Total], base).await? {
            total_before.add(&minutes);
        }
        survey.counted = total_before.sum();

        let (mut control, mut ads_before, mut seen) =
            (ControlTotals::default(), ByPlace::default(), BTreeSet::new());
        let (mut row, mut clicks, mut changed) = (0, 0, 0);
        loop {
            let slice = self.slice(&recount.id, row).await?;
            let entities: Vec<Entity> = slice.entities.iter().map(|(entity, _)| *entity).collect();
            let befores = self.before(&entities, base).await?;
            for ((entity, rows), before) in slice.entities.iter().zip(befores) {
                let Some(after) = after(rows, deltas) else {
                    return Ok(None);
                };
                changed += rows.iter().filter(|row| deltas.of(row).is_some()).count();
                for (place, counters) in &after {
                    control.add(*entity, *place, counters);
                }
                match entity {
                    Entity::Ad(_) => ads_before.add(&before),
                    Entity::Total => {
                        clicks += rows.iter().map(|row| row.clicks).sum::<u64>();
                        survey.lake.valid += after.iter().map(|(_, counters)| counters.valid()).sum::<u64>();
                    }
                    _ => {}
                }
                if !entity.is_counted_live() {
                    survey.pairs_differ |= ground.sealed && before != after;
                    continue;
                }
                for difference in differences(ground, &before, &after, rows, deltas) {
                    survey.differences += 1;
                    if difference.lost && survey.lost.is_none() {
                        survey.lost = Some(told(base.hour, *entity, &difference));
                    }
                }
                seen.insert(*entity);
            }
            row = slice.next;
            if slice.last {
                break;
            }
        }
        if !control.agree() || clicks != recount.totals.clicks || changed != deltas.len() {
            return Ok(None);
        }
        if ads_before != total_before {
            survey.vanished = self.vanished(base, &seen).await?;
            for Vanished { entity, before } in &survey.vanished {
                for difference in compare(ground, before, &[], |_| Evidence::default()) {
                    survey.differences += 1;
                    survey
                        .lost
                        .get_or_insert_with(|| told(base.hour, *entity, &difference));
                }
            }
        }
        Ok(Some(survey))
    }

    /// Entities that were counted and have no row.
    async fn vanished(&self, base: &Manifest, seen: &BTreeSet<Entity>) -> PortResult<Vec<Vanished>> {
        let mut counted = if base.is_sealed() {
            self.sealed_entities(base.hour, self.compared_with(base)).await?
        } else {
            self.all_entities().await?
        };
        counted.retain(|entity| entity.is_counted_live() && !seen.contains(entity));
        let counted: Vec<Entity> = counted.into_iter().collect();
        let befores = self.before(&counted, base).await?;
        let all = counted.into_iter().zip(befores);
        let found = all.filter(|(_, before)| !before.is_empty());
        Ok(found
            .map(|(entity, before)| Vanished { entity, before })
            .collect())
    }

    /// The entities of one version of an hour.
    pub(super) async fn sealed_entities(&self, hour: Hour, version: u64) -> PortResult<BTreeSet<Entity>> {
        let (mut all, mut after) = (BTreeSet::new(), None);
        loop {
            let limit = self.config.page;
            let page = self.ports.counts.entities(hour, version, after, limit).await?;
            after = page.last().copied();
            let whole = page.len() < limit;
            all.extend(page);
            if whole {
                return Ok(all);
            }
        }
    }

    /// Every entity that clicks may have been counted for.
    async fn all_entities(&self) -> PortResult<BTreeSet<Entity>> {
        let (limit, mut all) = (self.config.page, BTreeSet::from([Entity::Total]));
        let mut after = None;
        loop {
            let page = self
                .ports
                .catalog
                .list_ads(AdFilter::default(), after, limit)
                .await?;
            after = page.last().map(|ad| ad.ad_id);
            for ad in &page {
                all.insert(Entity::Ad(ad.ad_id));
                all.insert(Entity::Campaign(ad.campaign_id));
                all.insert(Entity::Advertiser(ad.advertiser_id));
            }
            if page.len() < limit {
                break;
            }
        }
        let mut after = None;
        loop {
            let page = self.ports.catalog.list_placements(after.as_ref(), limit).await?;
            all.extend(
                page.iter()
                    .map(|placement| Entity::Placement(placement.placement_id)),
            );
            let whole = page.len() < limit;
            after = page.into_iter().next_back().map(|placement| placement.slot);
            if whole {
                return Ok(all);
            }
        }
    }
}
