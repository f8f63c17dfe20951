//! What the recount of records does not know: unclaimed clicks, and clicks that are not what their records say. Kept by
//! entity, minute and counter, never by click.
//!
//! Invariant: applied to a recount of other clicks than these they say so.

use std::collections::BTreeMap;

use crate::domain::counter::{CounterKey, Counters};
use crate::domain::entity::Entity;
use crate::domain::record::CountedClick;
use crate::domain::time::Minute;
use crate::domain::verdict::Verdict;
use crate::ports::{LakeClick, RecountRow};

/// One minute's.
#[derive(Debug, Clone, Default)]
pub(super) struct Delta {
    plus: Counters,
    minus: Counters,
    /// Clicks that no counter of the recount holds.
    pub(super) unclaimed: u64,
    /// Whether a click took another's place, or lost it.
    pub(super) promoted: bool,
}

/// An hour's.
#[derive(Debug, Default)]
pub(super) struct Deltas {
    by_minute: BTreeMap<(Entity, Minute), Delta>,
}

/// Whose counts a click goes to.
fn entities(click: &CountedClick) -> impl Iterator<Item = Entity> {
    [
        Some(Entity::Ad(click.ad_id)),
        Some(Entity::Campaign(click.campaign_id)),
        Some(Entity::Advertiser(click.advertiser_id)),
        click.placement_id.map(Entity::Placement),
        Some(Entity::Total),
        click
            .placement_id
            .map(|placement| Entity::AdvertiserPlacement(click.advertiser_id, placement)),
    ]
    .into_iter()
    .flatten()
}

impl Deltas {
    fn each(&mut self, click: &CountedClick, mut change: impl FnMut(&mut Delta)) {
        let minute = Minute::of(click.clicked_at_ms);
        for entity in entities(click) {
            change(self.by_minute.entry((entity, minute)).or_default());
        }
    }

    /// An unclaimed click comes to this.
    pub(super) fn unclaimed(&mut self, found: &LakeClick, outcome: Verdict, promoted: bool) {
        let click = &found.click;
        let counter = CounterKey::of(outcome, click.device, click.country);
        self.each(click, |delta| {
            delta.plus.add(counter, 1);
            delta.unclaimed += 1;
            delta.promoted |= promoted;
        });
    }

    /// A click whose record is counted as it says comes to this instead.
    pub(super) fn instead(&mut self, found: &LakeClick, outcome: Verdict) {
        let click = &found.click;
        let [from, to] = [click.verdict, outcome].map(|it| CounterKey::of(it, click.device, click.country));
        if from == to {
            return;
        }
        self.each(click, |delta| {
            delta.minus.add(from, 1);
            delta.plus.add(to, 1);
            delta.promoted = true;
        });
    }

    /// In how many minutes of entities.
    pub(super) fn len(&self) -> usize {
        self.by_minute.len()
    }

    /// The one of this row, if there is one.
    pub(super) fn of(&self, row: &RecountRow) -> Option<&Delta> {
        self.by_minute.get(&(row.entity, row.minute))
    }

    /// The row's counters in truth; `None` where the row is not of the clicks that these are of.
    pub(super) fn apply(&self, row: &RecountRow) -> Option<Counters> {
        let unclaimed = self.of(row).map_or(0, |delta| delta.unclaimed);
        if row.clicks != row.counters.gross() + unclaimed {
            return None;
        }
        let Some(delta) = self.of(row) else {
            return Some(row.counters.clone());
        };
        let mut sum = row.counters.clone();
        sum.merge(&delta.plus);
        if delta.minus.is_empty() {
            return Some(sum);
        }
        let mut minus = delta.minus.iter().peekable();
        let mut left = Counters::with_capacity(sum.len());
        for (counter, count) in sum.iter() {
            let less = minus.next_if(|(other, _)| *other == counter);
            left.add(counter, count.checked_sub(less.map_or(0, |(_, less)| less))?);
        }
        minus.next().is_none().then_some(left)
    }
}
