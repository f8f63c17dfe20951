//! What of an hour its records do not say: whose unclaimed clicks' impressions are, and what was ruled on single clicks.
//!
//! Invariant: a ruling that is noted with what is sealed was applied to it. Runs may rule at any time.

use super::Reconcile;
use super::deltas::Deltas;
use super::owners::Ruled;
use crate::domain::ids::ClickId;
use crate::domain::time::Hour;
use crate::ports::{LakeClick, LakeSlice, PortError, PortResult};

/// What the lake has beside its recount.
pub(super) struct Settled {
    pub(super) ruled: Ruled,
    pub(super) deltas: Deltas,
    /// Clicks in the lake that are not what their records say.
    pub(super) special: Vec<ClickId>,
}

impl Reconcile {
    /// Settles the hour's unclaimed clicks, and gathers what the records don't say.
    ///
    /// # Errors
    /// Where others go on ruling on its clicks meanwhile.
    pub(super) async fn settled(&self, hour: Hour, slice: &LakeSlice, settle: bool) -> PortResult<Settled> {
        for _ in 0..self.config.tries.max(1) {
            let ruled = self.ruled(hour).await?;
            let mut settled = self.settled_under(ruled, slice, settle).await?;
            // Those that were ruled just now count too, but nothing may be counted that was not applied.
            let now = self.ruled(hour).await?;
            if now.is_alike(&settled.ruled) {
                settled.ruled.count = now.count;
                return Ok(settled);
            }
        }
        Err(PortError::unavailable("another run rules on the hour's clicks"))
    }

    async fn settled_under(&self, ruled: Ruled, slice: &LakeSlice, settle: bool) -> PortResult<Settled> {
        let mut deltas = Deltas::default();
        let (mut after, limit) = (None, self.config.page);
        loop {
            let page = self.ports.lake.unclaimed(slice, after, limit).await?;
            let owners = self.owners(&page, settle).await?;
            for (found, owner) in page.iter().zip(owners) {
                let id = found.click.click_id;
                let promoted = ruled.taking.contains_key(&id) || ruled.displaced.contains(&id);
                deltas.unclaimed(found, ruled.outcome(id, owner), promoted);
            }
            after = page.last().map(|found| found.click.click_id);
            if page.len() < limit {
                break;
            }
        }
        let mut special = Vec::new();
        for found in self.special(slice, &ruled).await? {
            let id = found.click.click_id;
            special.push(id);
            if !found.is_unclaimed() {
                let owner = found.duplicate_of.unwrap_or(id);
                deltas.instead(&found, ruled.outcome(id, owner));
            }
        }
        Ok(Settled {
            ruled,
            deltas,
            special,
        })
    }

    /// The clicks that rulings name, as far as they lie there and their verdicts depend on it.
    pub(super) async fn special(&self, slice: &LakeSlice, ruled: &Ruled) -> PortResult<Vec<LakeClick>> {
        let mut found = Vec::new();
        for some in ruled.clicks().chunks(self.config.page) {
            found.extend(self.ports.lake.clicks(slice, some).await?);
        }
        found.retain(|found| {
            let verdict = found.click.verdict;
            verdict.is_valid() || found.duplicate_of.is_some()
        });
        Ok(found)
    }
}
