//! Promotion: a duplicate whose owner never reached the lake takes its place.
//!
//! Invariant: who takes an orphan's place is ruled once, under the orphan's own id, and stands even if the orphan still comes; so
//! nobody is taken for an orphan of whose hour the lake is not proved complete.
//! The heir is marked first: who looks at its hour finds the orphan's ruling by that, also if the run that promotes dies.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Reconcile;
use super::owners::ruled_in;
use crate::domain::ids::ClickId;
use crate::domain::mutation::Broken;
use crate::domain::ruling::{Ruling, RulingKind};
use crate::domain::time::Hour;
use crate::ports::{LakeClick, LakeSlice, PortResult};

/// A click that lost its impression to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Loser {
    clicked_at_ms: i64,
    click_id: ClickId,
    owner: ClickId,
}

/// What came of promoting.
#[derive(Debug, Default)]
pub(super) struct Promoted {
    /// The hours of orphans that were ruled on.
    pub(super) hours: BTreeSet<Hour>,
    /// When the first click was made whose impression is another's that is too young to be judged, Unix milliseconds: the next
    /// run has to look at it again. (A later click may own the impression, where the first one's claim was not answered.)
    pub(super) young_ms: Option<i64>,
}

impl Reconcile {
    /// Settles the unclaimed clicks of these arrivals and promotes orphans' duplicates, of hours that were ripe at `cut_ms`.
    pub(super) async fn promote(&self, arrivals: &Range<Hour>, cut_ms: i64) -> PortResult<Promoted> {
        let slice = LakeSlice {
            arrivals: arrivals.clone(),
            clicked: None,
        };
        let mut losers = self.unclaimed_losers(&slice, cut_ms).await?;
        losers.extend(self.orphaned(&slice, cut_ms).await?);
        losers.sort_unstable();
        let mut promoted = Promoted::default();
        losers.retain(|loser| {
            let ripe = self.ripe_ms(ruled_in(loser.owner)) <= cut_ms;
            if !ripe {
                let first_ms = promoted.young_ms.unwrap_or(loser.clicked_at_ms);
                promoted.young_ms = Some(first_ms.min(loser.clicked_at_ms));
            }
            ripe
        });
        let mut by_orphan: BTreeMap<ClickId, Vec<ClickId>> = BTreeMap::new();
        for loser in losers {
            by_orphan.entry(loser.owner).or_default().push(loser.click_id);
        }
        if self.mutation.is(Broken::NoPromotion) {
            return Ok(promoted);
        }
        for (orphan, heirs) in by_orphan {
            promoted.hours.insert(ruled_in(orphan));
            let most = if self.mutation.is(Broken::PromotesEveryDuplicate) {
                heirs.len()
            } else {
                1
            };
            for heir in heirs.into_iter().take(most) {
                self.rule_heir(orphan, heir).await?;
            }
        }
        Ok(promoted)
    }

    async fn rule_heir(&self, orphan: ClickId, heir: ClickId) -> PortResult<()> {
        let all = self.mutation.is(Broken::PromotesEveryDuplicate);
        if !all && self.standing(orphan, RulingKind::DisplacedBy).await?.is_some() {
            return Ok(());
        }
        let mark = Ruling {
            click_id: heir,
            kind: RulingKind::TakesPlaceOf,
            other: orphan,
        };
        let displaced = Ruling {
            click_id: orphan,
            kind: RulingKind::DisplacedBy,
            other: heir,
        };
        self.ports.rulings.rule(mark).await?;
        let stands = self.ports.rulings.rule(displaced).await?;
        if stands.other == heir {
            tracing::info!(%orphan, %heir, "a duplicate takes the place of a click that never came");
        }
        Ok(())
    }

    fn is_ripe(&self, found: &LakeClick, cut_ms: i64) -> bool {
        self.ripe_ms(Hour::of(found.click.clicked_at_ms)) <= cut_ms
    }

    /// Unclaimed clicks whose impression is another's that does not lie in the lake.
    async fn unclaimed_losers(&self, slice: &LakeSlice, cut_ms: i64) -> PortResult<Vec<Loser>> {
        let (mut losers, mut after, limit) = (Vec::new(), None, self.config.page);
        loop {
            let page = self.ports.lake.unclaimed(slice, after, limit).await?;
            after = page.last().map(|found| found.click.click_id);
            let whole = page.len() < limit;
            let ripe: Vec<LakeClick> = page
                .into_iter()
                .filter(|found| self.is_ripe(found, cut_ms))
                .collect();
            let owners = self.owners(&ripe, true).await?;
            let lost = ripe.iter().zip(owners).map(|(found, owner)| Loser {
                clicked_at_ms: found.click.clicked_at_ms,
                click_id: found.click.click_id,
                owner,
            });
            losers.extend(lost.filter(|loser| loser.owner != loser.click_id));
            if whole {
                break;
            }
        }
        let Some(first_ms) = losers.iter().map(|loser| loser.clicked_at_ms).min() else {
            return Ok(losers);
        };
        let arrivals = self.owners_from(first_ms)..slice.arrivals.end;
        self.without_owner(losers, arrivals).await
    }

    /// Duplicates whose owner does not lie in the lake.
    async fn orphaned(&self, slice: &LakeSlice, cut_ms: i64) -> PortResult<Vec<Loser>> {
        let owners = self.owners_from(slice.arrivals.start.start_ms())..slice.arrivals.end;
        let (mut losers, mut after, limit) = (Vec::new(), None, self.config.page);
        loop {
            let page = self
                .ports
                .lake
                .orphaned(slice, owners.clone(), after, limit)
                .await?;
            after = page.last().map(|found| found.click.click_id);
            let ripe = page.iter().filter(|found| self.is_ripe(found, cut_ms));
            losers.extend(ripe.filter_map(|found| {
                Some(Loser {
                    clicked_at_ms: found.click.clicked_at_ms,
                    click_id: found.click.click_id,
                    owner: found.duplicate_of?,
                })
            }));
            if page.len() < limit {
                break;
            }
        }
        // The owners of clicks that came days late lie further back.
        let Some(first_ms) = losers.iter().map(|loser| loser.clicked_at_ms).min() else {
            return Ok(losers);
        };
        let further = self.owners_from(first_ms);
        if further >= owners.start {
            return Ok(losers);
        }
        self.without_owner(losers, further..owners.start).await
    }

    /// The first arrival partition that may hold the owner of an impression that was clicked again at this time.
    fn owners_from(&self, clicked_at_ms: i64) -> Hour {
        if self.mutation.is(Broken::OwnersInWindow) {
            return Hour::of(clicked_at_ms);
        }
        Hour(Hour::of(clicked_at_ms - self.config.life.token_ms).0 - 1)
    }

    async fn without_owner(&self, losers: Vec<Loser>, arrivals: Range<Hour>) -> PortResult<Vec<Loser>> {
        let mut orphaned = Vec::new();
        for some in losers.chunks(self.config.page) {
            let owners: Vec<ClickId> = some.iter().map(|loser| loser.owner).collect();
            let present = self.ports.lake.present(arrivals.clone(), &owners).await?;
            orphaned.extend(some.iter().filter(|loser| !present.contains(&loser.owner)));
        }
        Ok(orphaned)
    }
}
