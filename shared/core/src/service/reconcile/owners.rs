//! Whose the impressions of unclaimed clicks are, and what was ruled on single clicks of an hour.
//!
//! Invariant: an owner is asked of the claims once and then ruled, put if absent: claims expire, rulings don't. A click takes
//! an orphan's place only if the orphan's own ruling names it.

use std::collections::{HashMap, HashSet};

use super::{Reconcile, each};
use crate::domain::ids::ClickId;
use crate::domain::mutation::Broken;
use crate::domain::ruling::{Ruling, RulingKind};
use crate::domain::time::Hour;
use crate::domain::verdict::Verdict;
use crate::ports::{Claim, Claimed, LakeClick, PortResult};

/// What was ruled on an hour's clicks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ruled {
    /// How many rulings count.
    pub(super) count: u64,
    /// Orphans that have lost their impression.
    pub(super) displaced: HashSet<ClickId>,
    /// Clicks that took the place of these orphans.
    pub(super) taking: HashMap<ClickId, ClickId>,
}

impl Ruled {
    /// What an otherwise-valid click comes to, whose impression is `owner`'s.
    pub(super) fn outcome(&self, click_id: ClickId, owner: ClickId) -> Verdict {
        let valid = if owner == click_id {
            !self.displaced.contains(&click_id)
        } else {
            self.taking.get(&click_id) == Some(&owner)
        };
        if valid { Verdict::Valid } else { Verdict::Duplicate }
    }

    /// Whether the same clicks lose and take the same impressions.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        (&self.displaced, &self.taking) == (&other.displaced, &other.taking)
    }

    /// The clicks that are not what their records say.
    pub(super) fn clicks(&self) -> Vec<ClickId> {
        let mut all: Vec<ClickId> = self.displaced.iter().chain(self.taking.keys()).copied().collect();
        all.sort_unstable();
        all
    }
}

/// The hour that a click's rulings belong to.
pub(super) fn ruled_in(click_id: ClickId) -> Hour {
    Hour::of(click_id.unix_ms())
}

/// Just before every ruling on this click.
fn before(click_id: ClickId) -> Option<(ClickId, RulingKind)> {
    Some((ClickId(click_id.0.checked_sub(1)?), RulingKind::TakesPlaceOf))
}

impl Reconcile {
    /// All rulings of an hour.
    pub(super) async fn ruled(&self, hour: Hour) -> PortResult<Ruled> {
        let (mut ruled, mut after) = (Ruled::default(), None);
        loop {
            let page = self.ports.rulings.of_hour(hour, after, self.config.page).await?;
            for ruling in &page {
                after = Some((ruling.click_id, ruling.kind));
                match ruling.kind {
                    RulingKind::Owner => ruled.count += 1,
                    RulingKind::DisplacedBy => {
                        ruled.count += 1;
                        if !self.mutation.is(Broken::OrphanReturnsValid) {
                            ruled.displaced.insert(ruling.click_id);
                        }
                    }
                    RulingKind::TakesPlaceOf => {
                        let named = self.standing(ruling.other, RulingKind::DisplacedBy).await?;
                        let all = self.mutation.is(Broken::PromotesEveryDuplicate) && named.is_some();
                        if named == Some(ruling.click_id) || all {
                            ruled.count += 1;
                            ruled.taking.insert(ruling.click_id, ruling.other);
                        }
                    }
                }
            }
            if page.len() < self.config.page {
                return Ok(ruled);
            }
        }
    }

    /// The other click of one ruling, if there is one.
    pub(super) async fn standing(&self, click_id: ClickId, kind: RulingKind) -> PortResult<Option<ClickId>> {
        let hour = ruled_in(click_id);
        let found = self.ports.rulings.of_hour(hour, before(click_id), 3).await?;
        let found = found
            .iter()
            .find(|ruling| (ruling.click_id, ruling.kind) == (click_id, kind));
        Ok(found.map(|ruling| ruling.other))
    }

    /// Whose the impressions of these unclaimed clicks, in the order of their ids, are. What nobody has ruled yet is settled
    /// now; without `settle` it is taken for the click's own.
    pub(super) async fn owners(&self, clicks: &[LakeClick], settle: bool) -> PortResult<Vec<ClickId>> {
        if self.mutation.is(Broken::UnclaimedSealed) {
            return Ok(clicks.iter().map(|found| found.click.click_id).collect());
        }
        let mut ruled = HashMap::new();
        if !self.mutation.is(Broken::RulingsForgotten) {
            for of_hour in clicks.chunk_by(|a, b| ruled_in(a.click.click_id) == ruled_in(b.click.click_id)) {
                self.owners_ruled(of_hour, &mut ruled).await?;
            }
        }
        let owner = |found: &LakeClick| self.owner(*found, ruled.get(&found.click.click_id).copied(), settle);
        each(clicks.iter().map(owner).collect(), self.config.at_once).await
    }

    /// Owners that were ruled before, of clicks of one hour.
    async fn owners_ruled(
        &self,
        clicks: &[LakeClick],
        ruled: &mut HashMap<ClickId, ClickId>,
    ) -> PortResult<()> {
        let (Some(first), Some(last)) = (clicks.first(), clicks.last()) else {
            return Ok(());
        };
        let (first, last) = (first.click.click_id, last.click.click_id);
        let mut after = before(first);
        loop {
            let limit = self.config.page;
            let page = self.ports.rulings.of_hour(ruled_in(first), after, limit).await?;
            for ruling in page.iter().filter(|ruling| ruling.kind == RulingKind::Owner) {
                ruled.insert(ruling.click_id, ruling.other);
            }
            let Some(end) = page
                .last()
                .filter(|end| page.len() == limit && end.click_id <= last)
            else {
                return Ok(());
            };
            after = Some((end.click_id, end.kind));
        }
    }

    async fn owner(&self, found: LakeClick, ruled: Option<ClickId>, settle: bool) -> PortResult<ClickId> {
        let click = found.click;
        let (None, true, Some(impression_id)) = (ruled, settle, click.impression_id) else {
            return Ok(ruled.unwrap_or(click.click_id));
        };
        let now_ms = self.now_ms();
        let life = self.config.life;
        let claim = Claim {
            impression_id,
            click_id: click.click_id,
            expires_ms: life.expires_ms(impression_id, click.clicked_at_ms, now_ms, self.mutation),
        };
        let other = match self.ports.claims.claim(claim, now_ms).await? {
            Claimed::First => click.click_id,
            Claimed::DuplicateOf(owner) => owner,
        };
        if self.mutation.is(Broken::RulingsForgotten) {
            return Ok(other);
        }
        let ruling = Ruling {
            click_id: click.click_id,
            kind: RulingKind::Owner,
            other,
        };
        Ok(self.ports.rulings.rule(ruling).await?.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_loses_to_the_one_click_that_its_ruling_names() {
        let [orphan, heir, other] = [1, 2, 3].map(|n| ClickId::new(1000, [n; 10]));
        let ruled = Ruled {
            count: 2,
            displaced: [orphan].into(),
            taking: [(heir, orphan)].into(),
        };
        assert_eq!(ruled.outcome(orphan, orphan), Verdict::Duplicate);
        assert_eq!(ruled.outcome(heir, orphan), Verdict::Valid);
        assert_eq!(ruled.outcome(heir, other), Verdict::Duplicate);
        assert_eq!(ruled.outcome(other, orphan), Verdict::Duplicate);
        assert_eq!(ruled.outcome(other, other), Verdict::Valid);
        assert_eq!(ruled.clicks(), [orphan, heir]);
    }
}
