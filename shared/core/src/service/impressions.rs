//! Impressions: the choice of an ad for each showing, and the token that its click has to bring.
//!
//! Invariant: an impression is only issued for an active ad, each in proportion to its weight among the slot's active ads.

use std::sync::Arc;

use super::key_ring::KeyRing;
use crate::domain::ad::{Ad, AdStatus, Placement, SlotEntry};
use crate::domain::ids::{ImpressionId, SlotName};
use crate::domain::token::Impression;
use crate::ports::{AdCatalog, Clock, Entropy, PortResult};

/// One ad, chosen to be shown, with its signed impression.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Where.
    pub placement: Arc<Placement>,
    /// What.
    pub ad: Arc<Ad>,
    /// Which showing.
    pub impression_id: ImpressionId,
    /// What the click has to bring.
    pub token: String,
    /// Since when the token is good, Unix milliseconds, a whole second.
    pub issued_at_ms: i64,
    /// When it runs out, Unix milliseconds.
    pub expires_at_ms: i64,
}

/// Fills placements. Apart from the service that keeps them: whoever only looks placements up needs no signing keys.
pub struct ImpressionsService {
    catalog: Arc<dyn AdCatalog>,
    key_ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    token_ms: i64,
}

impl ImpressionsService {
    /// A service whose tokens live for `token_ms` milliseconds.
    pub fn new(
        catalog: Arc<dyn AdCatalog>,
        key_ring: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        token_ms: i64,
    ) -> Self {
        Self {
            catalog,
            key_ring,
            clock,
            entropy,
            token_ms,
        }
    }

    /// Chooses an ad for the slot and issues its impression; `None` where there is no such slot, or no active ad in it.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn show(&self, slot: &SlotName) -> PortResult<Option<Shown>> {
        let Some(placement) = self.catalog.placement(slot).await? else {
            return Ok(None);
        };
        let mut random = [0_u8; 18];
        self.entropy.fill(&mut random);
        let (draw, impression) = random.split_at(8);
        let mut draw: [u8; 8] = std::array::from_fn(|i| draw[i]);
        // Drawn by weight without putting back until an active ad comes: that is a draw by weight among the active ones, and
        // mostly needs one ad only.
        let mut drawn = pick(&placement.entries, |_| true, u64::from_be_bytes(draw));
        let mut ad = match drawn {
            Some(place) => self.active(&placement.entries[place]).await?,
            None => return Ok(None),
        };
        if ad.is_none() {
            let mut left = vec![true; placement.entries.len()];
            while let (None, Some(place)) = (&ad, drawn) {
                left[place] = false;
                self.entropy.fill(&mut draw);
                drawn = pick(&placement.entries, |place| left[place], u64::from_be_bytes(draw));
                if let Some(place) = drawn {
                    ad = self.active(&placement.entries[place]).await?;
                }
            }
        }
        let Some(ad) = ad else { return Ok(None) };
        let now_ms = self.clock.now_ms();
        let impression = Impression {
            impression_id: ImpressionId::new(now_ms, std::array::from_fn(|i| impression[i])),
            ad_id: ad.ad_id,
            placement_id: placement.placement_id,
            issued_at_s: u32::try_from(now_ms / 1000).unwrap_or(u32::MAX),
        };
        Ok(Some(Shown {
            token: self.key_ring.keys().ring.issue(&impression),
            impression_id: impression.impression_id,
            issued_at_ms: i64::from(impression.issued_at_s) * 1000,
            expires_at_ms: impression.expires_at_ms(self.token_ms),
            placement,
            ad,
        }))
    }

    async fn active(&self, entry: &SlotEntry) -> PortResult<Option<Arc<Ad>>> {
        let ad = self.catalog.ad(entry.ad_id).await?;
        Ok(ad.filter(|ad| ad.status == AdStatus::Active))
    }
}

/// The place of the entry that a random number falls on, each as often as its weight says. The sum of weights is below 2^26,
/// so that the bias of scaling 64 random bits is below 2^-38.
fn pick(entries: &[SlotEntry], wanted: impl Fn(usize) -> bool, random: u64) -> Option<usize> {
    let weights = || {
        entries
            .iter()
            .enumerate()
            .filter(|(place, _)| wanted(*place))
            .map(|(place, entry)| (place, u64::from(entry.weight)))
    };
    let total: u64 = weights().map(|(_, weight)| weight).sum();
    let mut point = ((u128::from(random) * u128::from(total)) >> 64) as u64;
    for (place, weight) in weights() {
        if point < weight {
            return Some(place);
        }
        point -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::AdId;

    #[test]
    fn entries_are_picked_by_their_weight() {
        let entries: Vec<SlotEntry> = [(1, 3), (2, 1), (3, 4)]
            .map(|(ad, weight)| SlotEntry {
                ad_id: AdId(ad),
                weight,
            })
            .to_vec();
        let picked = |wanted: fn(usize) -> bool| {
            let mut counts = [0; 3];
            for step in 0..8000_u64 {
                let place = pick(&entries, wanted, step * (u64::MAX / 8000)).unwrap();
                counts[place] += 1;
            }
            counts
        };
        let close =
            |counts: [i32; 3], wanted: [i32; 3]| counts.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= 2);
        assert!(close(picked(|_| true), [3000, 1000, 4000]));
        assert!(close(picked(|place| place != 2), [6000, 2000, 0]));
        assert_eq!(pick(&entries, |_| false, 7), None);
        assert_eq!(pick(&entries, |_| true, u64::MAX), Some(2));
        assert_eq!(pick(&[], |_| true, 0), None);
    }
}
