//! Who has ads: the advertisers and campaigns that people choose from, and the ads that an answer is broken down by.
//!
//! Invariant: an advertiser's key finds itself and its own campaigns only.

use super::AdsService;
use crate::domain::api_key::Scope;
use crate::domain::ids::{AdId, AdvertiserId, CampaignId};
use crate::ports::{AdFilter, AdvertiserAds, CampaignAds, PortResult};

impl AdsService {
    /// The advertisers after `after` that have ads and that the caller may see, in the order of their ids.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn advertisers(
        &self,
        by: &Scope,
        after: Option<AdvertiserId>,
        limit: usize,
    ) -> PortResult<Vec<AdvertiserAds>> {
        match by {
            Scope::Admin => self.catalog.list_advertisers(after, limit).await,
            Scope::Advertiser { advertiser_id, .. } if Some(*advertiser_id) > after => {
                let campaigns = self
                    .catalog
                    .list_campaigns(Some(*advertiser_id), None, usize::MAX)
                    .await?;
                let ads = campaigns.iter().map(|campaign| campaign.ads).sum();
                let own = AdvertiserAds {
                    advertiser_id: *advertiser_id,
                    ads,
                };
                Ok(if ads > 0 { vec![own] } else { Vec::new() })
            }
            Scope::Advertiser { .. } | Scope::Publisher { .. } => Ok(Vec::new()),
        }
    }

    /// The campaigns after `after` that have ads (of this advertiser) and that the caller may see, in the order of their ids.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn campaigns(
        &self,
        by: &Scope,
        asked: Option<AdvertiserId>,
        after: Option<CampaignId>,
        limit: usize,
    ) -> PortResult<Vec<CampaignAds>> {
        let of = match by {
            Scope::Admin => asked,
            Scope::Advertiser { advertiser_id, .. } if asked.is_none_or(|asked| asked == *advertiser_id) => {
                Some(*advertiser_id)
            }
            Scope::Advertiser { .. } | Scope::Publisher { .. } => return Ok(Vec::new()),
        };
        self.catalog.list_campaigns(of, after, limit).await
    }

    /// The ids of the ads, archived ones too, in their order, at most `limit`. Whose they are is for the caller to judge.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn ids(&self, filter: AdFilter, limit: usize) -> PortResult<Vec<AdId>> {
        let ads = self.catalog.list_ads(filter, None, limit).await?;
        Ok(ads.iter().map(|ad| ad.ad_id).collect())
    }
}
