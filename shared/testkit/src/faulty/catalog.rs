//! The catalogue under faults.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::ad::{Ad, Placement};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId, SlotName};
use clickledger_core::ports::{AdCatalog, AdFilter, AdvertiserAds, CampaignAds, Changed, PortResult};

super::wrapper!(
    /// [`AdCatalog`] under faults.
    FaultyCatalog, AdCatalog
);

#[async_trait]
impl AdCatalog for FaultyCatalog {
    async fn ad(&self, ad_id: AdId) -> PortResult<Option<Arc<Ad>>> {
        self.faults.read(self.port.ad(ad_id)).await
    }

    async fn create_ad(&self, ad: &Ad) -> PortResult<Changed> {
        let (port, ad) = (Arc::clone(&self.port), ad.clone());
        self.faults.write(async move { port.create_ad(&ad).await }).await
    }

    async fn update_ad(&self, ad: &Ad, expected: u64) -> PortResult<Changed> {
        let (port, ad) = (Arc::clone(&self.port), ad.clone());
        self.faults
            .write(async move { port.update_ad(&ad, expected).await })
            .await
    }

    async fn list_ads(&self, filter: AdFilter, after: Option<AdId>, limit: usize) -> PortResult<Vec<Ad>> {
        self.faults.read(self.port.list_ads(filter, after, limit)).await
    }

    async fn list_advertisers(
        &self,
        after: Option<AdvertiserId>,
        limit: usize,
    ) -> PortResult<Vec<AdvertiserAds>> {
        self.faults.read(self.port.list_advertisers(after, limit)).await
    }

    async fn list_campaigns(
        &self,
        advertiser_id: Option<AdvertiserId>,
        after: Option<CampaignId>,
        limit: usize,
    ) -> PortResult<Vec<CampaignAds>> {
        self.faults
            .read(self.port.list_campaigns(advertiser_id, after, limit))
            .await
    }

    async fn raise_fan_out(&self, ad_id: AdId, from: u32, to: u32) -> PortResult<bool> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.raise_fan_out(ad_id, from, to).await })
            .await
    }

    async fn placement(&self, slot: &SlotName) -> PortResult<Option<Arc<Placement>>> {
        self.faults.read(self.port.placement(slot)).await
    }

    async fn placement_by_id(&self, placement_id: PlacementId) -> PortResult<Option<Arc<Placement>>> {
        self.faults.read(self.port.placement_by_id(placement_id)).await
    }

    async fn put_placement(&self, placement: &Placement, expected: Option<u64>) -> PortResult<Changed> {
        let (port, placement) = (Arc::clone(&self.port), placement.clone());
        self.faults
            .write(async move { port.put_placement(&placement, expected).await })
            .await
    }

    async fn list_placements(&self, after: Option<&SlotName>, limit: usize) -> PortResult<Vec<Placement>> {
        self.faults.read(self.port.list_placements(after, limit)).await
    }
}
