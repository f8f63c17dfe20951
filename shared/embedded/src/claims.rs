//! Claims: put-if-absent on the impression id.
//!
//! Invariant: claims are made in the order of the writer's queue, each in one statement; whoever is told an owner is told
//! it after that owner's commit.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clickledger_core::domain::ids::ClickId;
use clickledger_core::ports::{Claim, ClaimStore, Claimed, PortResult};
use rusqlite::OptionalExtension;

use crate::failure::{Damaged, Failure};
use crate::group::Group;
use crate::store::Store;

/// How many claims one purge looks at, at least: reading is cheap, and expired ones are close together.
const LOOK_AT: usize = 50_000;

/// Claims that one commit group forgets, at most: clicks wait for their group.
const FORGET: usize = 250;

/// Claims from an impression on.
pub(crate) const EXPIRED: &str =
    "SELECT impression_id, expires_ms FROM claims WHERE impression_id > ?1 ORDER BY impression_id";
/// Forgets a claim that has expired.
pub(crate) const FORGOTTEN: &str = "DELETE FROM claims WHERE impression_id = ?1 AND expires_ms < ?2";

/// The embedded [`ClaimStore`].
#[derive(Clone)]
pub struct Claims {
    store: Arc<Store>,
    /// Up to which impression id the last purge looked: claims lie in the order of their impressions' times, and an
    /// index by expiry would double the cost of every claim.
    looked: Arc<Mutex<[u8; 16]>>,
}

impl Claims {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            looked: Arc::default(),
        }
    }
}

fn claim(group: &mut Group<'_>, claim: Claim, now_ms: i64) -> Result<Claimed, Failure> {
    let (impression, click) = (claim.impression_id.to_bytes(), claim.click_id.to_bytes());
    if group
        .claim
        .execute((impression, click, claim.expires_ms, now_ms))?
        > 0
    {
        return Ok(Claimed::First);
    }
    let owner: Option<[u8; 16]> = group.owner.query_row([impression], |row| row.get(0)).optional()?;
    match owner {
        Some(owner) if owner == click => Ok(Claimed::First),
        Some(owner) => Ok(Claimed::DuplicateOf(ClickId::from_bytes(owner))),
        None => Err(Damaged("claim").into()),
    }
}

#[async_trait]
impl ClaimStore for Claims {
    async fn claim(&self, wanted: Claim, now_ms: i64) -> PortResult<Claimed> {
        self.store
            .queue
            .submit(move |group| claim(group, wanted, now_ms))
            .await
    }

    async fn purge(&self, now_ms: i64, limit: usize) -> PortResult<usize> {
        let from = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let look_at = limit.saturating_mul(4).max(LOOK_AT);
        let (expired, reached) = self
            .store
            .readers
            .read(move |conn| {
                let mut select = conn.prepare_cached(EXPIRED)?;
                let (mut rows, mut expired, mut looked) = (select.query([from])?, Vec::new(), 0);
                while let Some(row) = rows.next()? {
                    let reached: [u8; 16] = row.get(0)?;
                    if row.get::<_, i64>(1)? < now_ms {
                        expired.push(reached);
                    }
                    looked += 1;
                    if expired.len() >= limit || looked >= look_at {
                        return Ok((expired, reached));
                    }
                }
                // The end: the next purge begins anew.
                Ok((expired, [0; 16]))
            })
            .await?;
        let mut forgotten = 0;
        for expired in expired.chunks(FORGET) {
            let expired = expired.to_vec();
            // The expiry is compared once more: the claim may have been made anew since it was read.
            let forget = move |group: &mut Group<'_>| {
                let mut delete = group.conn.prepare_cached(FORGOTTEN)?;
                let mut forgotten = 0;
                for impression in &expired {
                    forgotten += delete.execute((impression, now_ms))?;
                }
                Ok(forgotten)
            };
            forgotten += self.store.queue.submit(forget).await?;
        }
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = reached;
        Ok(forgotten)
    }
}
