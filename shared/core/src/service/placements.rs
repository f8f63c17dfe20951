//! Placements: which ads may fill a slot.
//!
//! Invariant: a placement holds ads that there are, each once; its id never changes.

use std::sync::Arc;

use super::ads::{ChangeError, FieldError, checked_text, new_id};
use crate::domain::ad::{MAX_SLOT_ENTRIES, MAX_WEIGHT, Placement, SlotEntry};
use crate::domain::api_key::Scope;
use crate::domain::ids::{PlacementId, SlotName};
use crate::ports::{AdCatalog, Changed, Clock, Entropy, PortResult};

const TRIES: usize = 4;

/// Which stored version a change is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there, also nothing.
    Any,
    /// Nothing.
    Absent,
    /// This version.
    Version(u64),
}

/// Keeps placements.
pub struct PlacementsService {
    catalog: Arc<dyn AdCatalog>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl PlacementsService {
    /// A service over this catalogue.
    pub fn new(catalog: Arc<dyn AdCatalog>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            catalog,
            clock,
            entropy,
        }
    }

    /// Makes a placement, or replaces its entries and site; its id stays. Says also whether it is new.
    ///
    /// # Errors
    /// [`ChangeError`]; `NotFound` where a version is expected and there is none.
    pub async fn put(
        &self,
        by: &Scope,
        slot: &SlotName,
        entries: &[SlotEntry],
        site: Option<String>,
        expect: Expect,
    ) -> Result<(Placement, bool), ChangeError> {
        if *by != Scope::Admin {
            return Err(ChangeError::Forbidden("only an administrator changes placements"));
        }
        let mut invalid = Vec::new();
        let site = site.and_then(|site| checked_text("site", site, &mut invalid));
        self.check(entries, &mut invalid).await?;
        if !invalid.is_empty() {
            return Err(ChangeError::Invalid(invalid));
        }
        for _ in 0..TRIES {
            let old = self.catalog.placement(slot).await?;
            match (expect, &old) {
                (Expect::Absent, Some(_)) => return Err(ChangeError::Conflict),
                (Expect::Version(_), None) => return Err(ChangeError::NotFound),
                (Expect::Version(wanted), Some(old)) if wanted != old.version => {
                    return Err(ChangeError::Conflict);
                }
                _ => {}
            }
            let placement = Placement {
                slot: slot.clone(),
                placement_id: match &old {
                    Some(old) => old.placement_id,
                    None => PlacementId(new_id(&*self.clock, &*self.entropy)),
                },
                entries: entries.to_vec(),
                site: site.clone(),
                version: old.as_ref().map_or(1, |old| old.version + 1),
            };
            match self
                .catalog
                .put_placement(&placement, old.as_ref().map(|old| old.version))
                .await?
            {
                Changed::Done => return Ok((placement, old.is_none())),
                Changed::Conflict | Changed::NotFound if matches!(expect, Expect::Version(_)) => break,
                Changed::Conflict | Changed::NotFound => {}
            }
        }
        Err(ChangeError::Conflict)
    }

    async fn check(&self, entries: &[SlotEntry], invalid: &mut Vec<FieldError>) -> PortResult<()> {
        if entries.len() > MAX_SLOT_ENTRIES {
            let reason = format!("must be at most {MAX_SLOT_ENTRIES}");
            invalid.push(FieldError::new("entries", reason));
            return Ok(());
        }
        for (place, entry) in entries.iter().enumerate() {
            if !(1..=MAX_WEIGHT).contains(&entry.weight) {
                invalid.push(FieldError::new(
                    format!("entries[{place}].weight"),
                    format!("must be from 1 to {MAX_WEIGHT}"),
                ));
            }
            let reason = if entries[..place].iter().any(|other| other.ad_id == entry.ad_id) {
                "is in the list already"
            } else if self.catalog.ad(entry.ad_id).await?.is_none() {
                "is no ad"
            } else {
                continue;
            };
            invalid.push(FieldError::new(format!("entries[{place}].ad_id"), reason));
        }
        Ok(())
    }

    /// The placement of this slot.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn get(&self, slot: &SlotName) -> PortResult<Option<Arc<Placement>>> {
        self.catalog.placement(slot).await
    }

    /// The placement of this id.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn by_id(&self, placement_id: PlacementId) -> PortResult<Option<Arc<Placement>>> {
        self.catalog.placement_by_id(placement_id).await
    }

    /// Placements after `after` in the order of their slots.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn list(&self, after: Option<&SlotName>, limit: usize) -> PortResult<Vec<Placement>> {
        self.catalog.list_placements(after, limit).await
    }

    /// Those of these ids that there are, after `after` in the order of their slots.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn of_ids(
        &self,
        ids: &[PlacementId],
        after: Option<&SlotName>,
        limit: usize,
    ) -> PortResult<Vec<Placement>> {
        let mut found = Vec::new();
        for id in ids {
            let placement = self.catalog.placement_by_id(*id).await?;
            found.extend(placement.filter(|placement| Some(&placement.slot) > after));
        }
        found.sort_by(|a, b| a.slot.cmp(&b.slot));
        found.dedup_by(|a, b| a.slot == b.slot);
        Ok(found
            .iter()
            .take(limit)
            .map(|placement| (**placement).clone())
            .collect())
    }
}
