//! Claims: put-if-absent on the impression id.

use std::collections::HashMap;

use async_trait::async_trait;
use clickledger_core::domain::ids::{ClickId, ImpressionId};
use clickledger_core::ports::{Claim, ClaimStore, Claimed, PortResult};

use super::Held;

/// [`ClaimStore`] in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryClaims {
    claims: Held<HashMap<ImpressionId, Claim>>,
}

impl MemoryClaims {
    /// Who has the impression, or had it last, if its claim is not purged yet.
    pub fn owner(&self, impression_id: ImpressionId) -> Option<ClickId> {
        self.claims.lock().get(&impression_id).map(|claim| claim.click_id)
    }

    /// Every stored claim, expired or not, in the order of impressions.
    pub fn all(&self) -> Vec<Claim> {
        let mut all: Vec<Claim> = self.claims.lock().values().copied().collect();
        all.sort_by_key(|claim| claim.impression_id);
        all
    }
}

#[async_trait]
impl ClaimStore for MemoryClaims {
    async fn claim(&self, claim: Claim, now_ms: i64) -> PortResult<Claimed> {
        let mut claims = self.claims.lock();
        let stored = claims.entry(claim.impression_id).or_insert(claim);
        if stored.expires_ms <= now_ms {
            *stored = claim;
        }
        Ok(if stored.click_id == claim.click_id {
            Claimed::First
        } else {
            Claimed::DuplicateOf(stored.click_id)
        })
    }

    async fn purge(&self, now_ms: i64, limit: usize) -> PortResult<usize> {
        let mut claims = self.claims.lock();
        let mut expired: Vec<ImpressionId> = claims
            .values()
            .filter(|claim| claim.expires_ms < now_ms)
            .map(|claim| claim.impression_id)
            .collect();
        // Not in a hash map's order, which no seed decides.
        expired.sort_unstable();
        expired.truncate(limit);
        for impression_id in &expired {
            claims.remove(impression_id);
        }
        Ok(expired.len())
    }
}
