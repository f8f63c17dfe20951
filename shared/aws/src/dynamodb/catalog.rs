//! Ads and placements: in memory, behind that the tables, behind those the snapshot in S3.
//!
//! Invariant: an ad is answered from what is known and fresh, else from the table; only while the table does not answer, from
//! what is known and old. So a click on an ad that was known a minute ago is redirected although DynamoDB is down.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::ad::{Ad, Placement};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId, SlotName};
use clickledger_core::ports::{
    AdCatalog, AdFilter, AdvertiserAds, CampaignAds, Changed, Clock, PortResult, count_by_advertiser,
    count_by_campaign,
};

use super::ads::AdsTable;
use super::cached::Cached;
use super::placements::PlacementsTable;
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::patience::Patience;
use crate::snapshot::Snapshot;

/// The numbers of a [`Catalog`].
#[derive(Debug, Clone, Copy)]
pub struct CatalogOptions {
    /// How long what was read from a table is taken without asking again, milliseconds: by then at the latest everybody sees
    /// a change.
    pub fresh_ms: i64,
    /// The same for "there is no such ad": short, because ads are made.
    pub absent_fresh_ms: i64,
    /// How long behind its writing the snapshot is taken without asking the table, milliseconds: it is written every minute.
    pub snapshot_fresh_ms: i64,
    /// At most so many ads in memory, about 1 KB each, beside the snapshot.
    pub ads: usize,
    /// At most so many placements in memory, at most 4 KB each.
    pub placements: usize,
    /// For reading one ad or placement.
    pub read: Patience,
    /// The same where an old one can be answered instead.
    pub refresh: Patience,
    /// For everything else.
    pub change: Patience,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            fresh_ms: 60_000,
            absent_fresh_ms: 2_000,
            snapshot_fresh_ms: 90_000,
            ads: 20_000,
            placements: 4_000,
            read: Patience::CATALOG,
            refresh: Patience::CATALOG_KNOWN,
            change: Patience::UNHURRIED,
        }
    }
}

impl CatalogOptions {
    /// For whoever is in no such hurry as a click: reads take this long, whatever is known.
    pub fn unhurried(read: Patience) -> Self {
        Self {
            read,
            refresh: read,
            ..Self::default()
        }
    }

    /// For a read that has an old answer behind it, or none.
    fn patience(&self, old: bool) -> Patience {
        if old { self.refresh } else { self.read }
    }
}

/// The [`AdCatalog`] on DynamoDB.
pub struct Catalog {
    ads: AdsTable,
    placements: Option<PlacementsTable>,
    known_ads: Cached<AdId, Ad>,
    known_placements: Cached<SlotName, Placement>,
    snapshot: Option<Snapshot>,
    options: CatalogOptions,
    clock: Arc<dyn Clock>,
}

impl Aws {
    /// Ads and placements, with the snapshot (to be loaded by [`Snapshot::load`]) behind them where one is given. Whoever only
    /// redirects needs no table of placements.
    ///
    /// # Errors
    /// The name of the table of ads is missing.
    pub fn catalog(
        &self,
        snapshot: Option<Snapshot>,
        options: CatalogOptions,
    ) -> Result<Catalog, ConfigError> {
        let placements = self.name(Resource::Placements).ok().map(|table| PlacementsTable {
            client: self.dynamodb(),
            table,
        });
        Ok(Catalog {
            ads: AdsTable {
                client: self.dynamodb(),
                table: self.name(Resource::Ads)?,
            },
            placements,
            known_ads: Cached::new(options.ads),
            known_placements: Cached::new(options.placements),
            snapshot,
            options,
            clock: self.clock(),
        })
    }
}

impl Catalog {
    fn placements(&self) -> PortResult<&PlacementsTable> {
        self.placements.as_ref().ok_or_else(|| {
            clickledger_core::ports::PortError::rejected(ConfigError::Missing(
                Resource::Placements.variable(),
            ))
        })
    }

    /// Whether a read of this time and outcome may be answered still.
    fn fresh(&self, now_ms: i64, read_ms: i64, present: bool) -> bool {
        let life_ms = if present {
            self.options.fresh_ms
        } else {
            self.options.absent_fresh_ms
        };
        now_ms - read_ms < life_ms
    }

    async fn change_ad(&self, ad: &Ad, expected: Option<u64>) -> PortResult<Changed> {
        let outcome = self.ads.put(ad, expected, self.options.change).await;
        // Also after a failure: it may have been applied.
        self.known_ads.changed(&ad.ad_id);
        if let Some(snapshot) = &self.snapshot {
            snapshot.outdated(ad.ad_id);
        }
        outcome
    }
}

#[async_trait]
impl AdCatalog for Catalog {
    async fn ad(&self, ad_id: AdId) -> PortResult<Option<Arc<Ad>>> {
        let now_ms = self.clock.now_ms();
        let known = self.known_ads.get(&ad_id);
        if let Some(known) = &known
            && self.fresh(now_ms, known.read_ms, known.value.is_some())
        {
            return Ok(known.value.clone());
        }
        let in_snapshot = self
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.ad(ad_id, now_ms));
        if let Some((ad, written_ms)) = &in_snapshot
            && now_ms - written_ms < self.options.snapshot_fresh_ms
        {
            return Ok(Some(Arc::clone(ad)));
        }
        let changes = self.known_ads.changes();
        let old = in_snapshot.is_some() || known.as_ref().is_some_and(|known| known.value.is_some());
        match self.ads.get(ad_id, self.options.patience(old)).await {
            Ok(found) => {
                let found = found.map(Arc::new);
                self.known_ads.keep(ad_id, found.clone(), now_ms, changes);
                Ok(found)
            }
            Err(error) => {
                let known = known.and_then(|known| Some((known.value?, known.read_ms)));
                let newest = [known, in_snapshot]
                    .into_iter()
                    .flatten()
                    .max_by_key(|(_, seen_ms)| *seen_ms);
                let Some((ad, seen_ms)) = newest else {
                    return Err(error);
                };
                tracing::warn!(%ad_id, age_ms = now_ms - seen_ms, %error, "an ad is answered as it was");
                Ok(Some(ad))
            }
        }
    }

    async fn create_ad(&self, ad: &Ad) -> PortResult<Changed> {
        self.change_ad(ad, None).await
    }

    async fn update_ad(&self, ad: &Ad, expected: u64) -> PortResult<Changed> {
        self.change_ad(ad, Some(expected)).await
    }

    async fn list_ads(&self, filter: AdFilter, after: Option<AdId>, limit: usize) -> PortResult<Vec<Ad>> {
        self.ads.list(filter, after, limit, self.options.change).await
    }

    async fn list_advertisers(
        &self,
        after: Option<AdvertiserId>,
        limit: usize,
    ) -> PortResult<Vec<AdvertiserAds>> {
        let ads = self.ads.owners(None, self.options.change).await?;
        let advertisers = ads.into_iter().map(|(_, advertiser_id)| advertiser_id);
        Ok(count_by_advertiser(advertisers, after, limit))
    }

    async fn list_campaigns(
        &self,
        advertiser_id: Option<AdvertiserId>,
        after: Option<CampaignId>,
        limit: usize,
    ) -> PortResult<Vec<CampaignAds>> {
        let ads = self.ads.owners(advertiser_id, self.options.change).await?;
        Ok(count_by_campaign(ads, after, limit))
    }

    async fn raise_fan_out(&self, ad_id: AdId, from: u32, to: u32) -> PortResult<bool> {
        let raised = self.ads.raise_fan_out(ad_id, from, to, self.options.change).await;
        self.known_ads.changed(&ad_id);
        if let Some(snapshot) = &self.snapshot {
            snapshot.outdated(ad_id);
        }
        raised
    }

    async fn placement(&self, slot: &SlotName) -> PortResult<Option<Arc<Placement>>> {
        let now_ms = self.clock.now_ms();
        let known = self.known_placements.get(slot);
        if let Some(known) = &known
            && self.fresh(now_ms, known.read_ms, known.value.is_some())
        {
            return Ok(known.value.clone());
        }
        let changes = self.known_placements.changes();
        let old = known.as_ref().is_some_and(|known| known.value.is_some());
        match self.placements()?.get(slot, self.options.patience(old)).await {
            Ok(found) => {
                let found = found.map(Arc::new);
                self.known_placements
                    .keep(slot.clone(), found.clone(), now_ms, changes);
                Ok(found)
            }
            Err(error) => match known.and_then(|known| known.value) {
                Some(placement) => {
                    tracing::warn!(%slot, %error, "a placement is answered as it was");
                    Ok(Some(placement))
                }
                None => Err(error),
            },
        }
    }

    async fn placement_by_id(&self, placement_id: PlacementId) -> PortResult<Option<Arc<Placement>>> {
        let found = self
            .placements()?
            .by_id(placement_id, self.options.change)
            .await?;
        Ok(found.map(Arc::new))
    }

    /// Ids are drawn from 63 bits: that a new one is another slot's is looked up, not locked against.
    async fn put_placement(&self, placement: &Placement, expected: Option<u64>) -> PortResult<Changed> {
        let table = self.placements()?;
        if expected.is_none() {
            let taken = table.by_id(placement.placement_id, self.options.change).await?;
            if taken.is_some() {
                return Ok(Changed::Conflict);
            }
        }
        let outcome = table.put(placement, expected, self.options.change).await;
        self.known_placements.changed(&placement.slot);
        outcome
    }

    async fn list_placements(&self, after: Option<&SlotName>, limit: usize) -> PortResult<Vec<Placement>> {
        self.placements()?.list(after, limit, self.options.change).await
    }
}
