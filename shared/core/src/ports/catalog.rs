//! Ads and placements.

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
