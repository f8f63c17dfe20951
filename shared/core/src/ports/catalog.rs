//! Ads and placements.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::PortResult;
use crate::domain::ad::{Ad, Placement};
use crate::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId, SlotName};

/// Which ads to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdFilter {
    /// Only this advertiser's.
    pub advertiser_id: Option<AdvertiserId>,
    /// Only this campaign's.
    pub campaign_id: Option<CampaignId>,
}

/// An advertiser that has ads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvertiserAds {
    /// Who.
    pub advertiser_id: AdvertiserId,
    /// How many ads, archived ones too.
    pub ads: u64,
}

/// A campaign that has ads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CampaignAds {
    /// Which.
    pub campaign_id: CampaignId,
    /// Whose: the advertiser of its oldest ad.
    pub advertiser_id: AdvertiserId,
    /// How many ads, archived ones too.
    pub ads: u64,
}

/// Counts ads by advertiser, for a page of those after `after`.
pub fn count_by_advertiser(
    ads: impl IntoIterator<Item = AdvertiserId>,
    after: Option<AdvertiserId>,
    limit: usize,
) -> Vec<AdvertiserAds> {
    let mut counts: BTreeMap<AdvertiserId, u64> = BTreeMap::new();
    for advertiser_id in ads {
        if Some(advertiser_id) > after {
            *counts.entry(advertiser_id).or_default() += 1;
        }
    }
    let counts = counts.into_iter().take(limit);
    counts
        .map(|(advertiser_id, ads)| AdvertiserAds { advertiser_id, ads })
        .collect()
}

/// Counts ads, which come in the order of their ids, by campaign, for a page of those after `after`.
pub fn count_by_campaign(
    ads: impl IntoIterator<Item = (CampaignId, AdvertiserId)>,
    after: Option<CampaignId>,
    limit: usize,
) -> Vec<CampaignAds> {
    let mut counts: BTreeMap<CampaignId, (AdvertiserId, u64)> = BTreeMap::new();
    for (campaign_id, advertiser_id) in ads {
        if Some(campaign_id) > after {
            counts.entry(campaign_id).or_insert((advertiser_id, 0)).1 += 1;
        }
    }
    let counts = counts.into_iter().take(limit);
    counts
        .map(|(campaign_id, (advertiser_id, ads))| CampaignAds {
            campaign_id,
            advertiser_id,
            ads,
        })
        .collect()
}

/// How a conditional change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Done.
    Done,
    /// The stored version is another (or, on creation: the id or name is taken).
    Conflict,
    /// There is nothing of this id.
    NotFound,
}

/// Ads by id, placements by slot. Reads may be cached for a configured time; a change is seen at once by whoever made it.
#[async_trait]
pub trait AdCatalog: Send + Sync {
    /// The ad of this id. Called for every click: adapters cache.
    async fn ad(&self, ad_id: AdId) -> PortResult<Option<Arc<Ad>>>;
    /// Stores a new ad under its own id and version; [`Changed::Conflict`] if the id is taken.
    async fn create_ad(&self, ad: &Ad) -> PortResult<Changed>;
    /// Replaces the ad if its stored version is `expected`; the new version is in `ad`.
    async fn update_ad(&self, ad: &Ad, expected: u64) -> PortResult<Changed>;
    /// Ads after `after` in the order of their ids, at most `limit`.
    async fn list_ads(&self, filter: AdFilter, after: Option<AdId>, limit: usize) -> PortResult<Vec<Ad>>;
    /// Advertisers that have ads, after `after` in the order of their ids, at most `limit`.
    async fn list_advertisers(
        &self,
        after: Option<AdvertiserId>,
        limit: usize,
    ) -> PortResult<Vec<AdvertiserAds>>;
    /// Campaigns that have ads (of this advertiser), after `after` in the order of their ids, at most `limit`.
    async fn list_campaigns(
        &self,
        advertiser_id: Option<AdvertiserId>,
        after: Option<CampaignId>,
        limit: usize,
    ) -> PortResult<Vec<CampaignAds>>;
    /// Raises the ad's fan-out from `from` to `to`, unless it is another by now; says whether it did. Leaves the version.
    async fn raise_fan_out(&self, ad_id: AdId, from: u32, to: u32) -> PortResult<bool>;
    /// The placement of this slot. Called for every impression: adapters cache.
    async fn placement(&self, slot: &SlotName) -> PortResult<Option<Arc<Placement>>>;
    /// The placement of this id.
    async fn placement_by_id(&self, placement_id: PlacementId) -> PortResult<Option<Arc<Placement>>>;
    /// Stores a placement: new if `expected` is `None`, else replacing that version; the new version is in `placement`.
    async fn put_placement(&self, placement: &Placement, expected: Option<u64>) -> PortResult<Changed>;
    /// Placements after `after` in the order of their slots, at most `limit`.
    async fn list_placements(&self, after: Option<&SlotName>, limit: usize) -> PortResult<Vec<Placement>>;
}
