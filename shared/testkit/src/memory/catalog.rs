//! Ads and placements.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::ad::{Ad, Placement};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId, SlotName};
use clickledger_core::ports::{
    AdCatalog, AdFilter, AdvertiserAds, CampaignAds, Changed, PortResult, count_by_advertiser,
    count_by_campaign,
};

use super::Held;

/// [`AdCatalog`] in memory, without a cache: a change is seen at once by everybody.
#[derive(Debug, Clone, Default)]
pub struct MemoryCatalog {
    stored: Held<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    ads: BTreeMap<AdId, Arc<Ad>>,
    placements: BTreeMap<String, Arc<Placement>>,
}

/// What comes of a change that expects this version (`None`: nothing stored).
fn changed(found: Option<u64>, expected: Option<u64>) -> Changed {
    match (found, expected) {
        (None, None) => Changed::Done,
        (Some(found), Some(expected)) if found == expected => Changed::Done,
        (None, Some(_)) => Changed::NotFound,
        (Some(_), _) => Changed::Conflict,
    }
}

impl MemoryCatalog {
    fn put_ad(&self, ad: &Ad, expected: Option<u64>) -> Changed {
        let ads = &mut self.stored.lock().ads;
        let outcome = changed(ads.get(&ad.ad_id).map(|stored| stored.version), expected);
        if outcome == Changed::Done {
            ads.insert(ad.ad_id, Arc::new(ad.clone()));
        }
        outcome
    }
}

#[async_trait]
impl AdCatalog for MemoryCatalog {
    async fn ad(&self, ad_id: AdId) -> PortResult<Option<Arc<Ad>>> {
        Ok(self.stored.lock().ads.get(&ad_id).cloned())
    }

    async fn create_ad(&self, ad: &Ad) -> PortResult<Changed> {
        Ok(self.put_ad(ad, None))
    }

    async fn update_ad(&self, ad: &Ad, expected: u64) -> PortResult<Changed> {
        Ok(self.put_ad(ad, Some(expected)))
    }

    async fn list_ads(&self, filter: AdFilter, after: Option<AdId>, limit: usize) -> PortResult<Vec<Ad>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let stored = self.stored.lock();
        let ads = stored.ads.range((from, Bound::Unbounded)).map(|(_, ad)| ad);
        let wanted = |ad: &&Arc<Ad>| {
            filter.advertiser_id.is_none_or(|id| ad.advertiser_id == id)
                && filter.campaign_id.is_none_or(|id| ad.campaign_id == id)
        };
        Ok(ads.filter(wanted).take(limit).map(|ad| Ad::clone(ad)).collect())
    }

    async fn list_advertisers(
        &self,
        after: Option<AdvertiserId>,
        limit: usize,
    ) -> PortResult<Vec<AdvertiserAds>> {
        let stored = self.stored.lock();
        let ads = stored.ads.values().map(|ad| ad.advertiser_id);
        Ok(count_by_advertiser(ads, after, limit))
    }

    async fn list_campaigns(
        &self,
        advertiser_id: Option<AdvertiserId>,
        after: Option<CampaignId>,
        limit: usize,
    ) -> PortResult<Vec<CampaignAds>> {
        let stored = self.stored.lock();
        let ads = stored.ads.values();
        let ads = ads.filter(|ad| advertiser_id.is_none_or(|of| ad.advertiser_id == of));
        let ads = ads.map(|ad| (ad.campaign_id, ad.advertiser_id));
        Ok(count_by_campaign(ads, after, limit))
    }

    async fn raise_fan_out(&self, ad_id: AdId, from: u32, to: u32) -> PortResult<bool> {
        let mut stored = self.stored.lock();
        let Some(ad) = stored.ads.get_mut(&ad_id).filter(|ad| ad.fan_out == from) else {
            return Ok(false);
        };
        Arc::make_mut(ad).fan_out = to;
        Ok(true)
    }

    async fn placement(&self, slot: &SlotName) -> PortResult<Option<Arc<Placement>>> {
        Ok(self.stored.lock().placements.get(slot.as_str()).cloned())
    }

    async fn placement_by_id(&self, placement_id: PlacementId) -> PortResult<Option<Arc<Placement>>> {
        let stored = self.stored.lock();
        let found = stored
            .placements
            .values()
            .find(|p| p.placement_id == placement_id);
        Ok(found.cloned())
    }

    async fn put_placement(&self, placement: &Placement, expected: Option<u64>) -> PortResult<Changed> {
        let placements = &mut self.stored.lock().placements;
        let others =
            |p: &Arc<Placement>| p.placement_id == placement.placement_id && p.slot != placement.slot;
        if placements.values().any(others) {
            return Ok(Changed::Conflict);
        }
        let slot = placement.slot.as_str();
        let outcome = changed(placements.get(slot).map(|stored| stored.version), expected);
        if outcome == Changed::Done {
            placements.insert(slot.to_owned(), Arc::new(placement.clone()));
        }
        Ok(outcome)
    }

    async fn list_placements(&self, after: Option<&SlotName>, limit: usize) -> PortResult<Vec<Placement>> {
        let from = after.map_or(Bound::Unbounded, |slot| Bound::Excluded(slot.as_str()));
        let stored = self.stored.lock();
        let found = stored.placements.range::<str, _>((from, Bound::Unbounded));
        Ok(found.take(limit).map(|(_, p)| Placement::clone(p)).collect())
    }
}
