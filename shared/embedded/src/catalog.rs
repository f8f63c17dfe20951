//! Ads and placements, behind a cache in memory that every write goes through.
//!
//! Invariant: the folder is this process's alone, so what is cached is what is stored: a write's group empties the cache's
//! entry at its commit, and a read that began before that commit caches nothing.

mod owners;

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clickledger_core::domain::ad::{Ad, Placement};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId, SlotName};
use clickledger_core::ports::{AdCatalog, AdFilter, AdvertiserAds, CampaignAds, Changed, PortResult};
use quick_cache::sync::Cache;
use rusqlite::{Connection, OptionalExtension, Params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Damaged, Failure};
use crate::group::Group;
use crate::store::Store;

/// At most so many ads in memory: about 1 KB each.
const CACHED_ADS: usize = 20_000;
/// At most so many placements in memory: at most 4 KB each.
const CACHED_PLACEMENTS: usize = 4_000;

/// The embedded [`AdCatalog`].
#[derive(Clone)]
pub struct Catalog {
    store: Arc<Store>,
    ads: Arc<Cached<AdId, Ad>>,
    placements: Arc<Cached<SlotName, Placement>>,
}

/// What is stored under a key, or that nothing is.
struct Cached<K, V> {
    cache: Cache<K, Option<Arc<V>>>,
    /// How many writes there were: a read that saw another number may have seen an older state.
    writes: Mutex<u64>,
}

impl<K: Hash + Eq + Clone, V> Cached<K, V> {
    fn new(capacity: usize) -> Self {
        Self {
            cache: Cache::new(capacity),
            writes: Mutex::new(0),
        }
    }

    fn writes(&self) -> u64 {
        *self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, key: &K) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        *writes += 1;
        self.cache.remove(key);
    }

    fn keep(&self, key: K, value: Option<Arc<V>>, read_at: u64) {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if *writes == read_at {
            self.cache.insert(key, value);
        }
    }
}

fn body(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|_| Damaged("ad or placement").into())
}

fn parse<T: DeserializeOwned>(body: &str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|_| Damaged("ad or placement").into())
}

fn one<T: DeserializeOwned>(conn: &Connection, sql: &str, key: impl Params) -> Result<Option<T>, Failure> {
    let found: Option<String> = conn
        .prepare_cached(sql)?
        .query_row(key, |row| row.get(0))
        .optional()?;
    found.map(|body| parse(&body)).transpose()
}

fn many<T: DeserializeOwned>(conn: &Connection, sql: &str, key: impl Params) -> Result<Vec<T>, Failure> {
    let mut select = conn.prepare_cached(sql)?;
    let (mut rows, mut found) = (select.query(key)?, Vec::new());
    while let Some(row) = rows.next()? {
        found.push(parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(found)
}

fn version(conn: &Connection, sql: &str, key: impl Params) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(sql)?
        .query_row(key, |row| row.get(0))
        .optional()
}

const AD: &str = "SELECT body FROM ads WHERE ad_id = ?1";
const AD_VERSION: &str = "SELECT version FROM ads WHERE ad_id = ?1";

fn replace_ad(group: &Group<'_>, ad: &Ad, body: &str) -> rusqlite::Result<()> {
    group
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO ads(ad_id, advertiser_id, campaign_id, version, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            ad.ad_id.0.cast_signed(),
            ad.advertiser_id.0.cast_signed(),
            ad.campaign_id.0.cast_signed(),
            ad.version.cast_signed(),
            body,
        ))?;
    Ok(())
}

impl Catalog {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            ads: Arc::new(Cached::new(CACHED_ADS)),
            placements: Arc::new(Cached::new(CACHED_PLACEMENTS)),
        }
    }

    /// Stores an ad if the stored version is `expected` (`None`: if there is none).
    async fn put_ad(&self, ad: &Ad, expected: Option<u64>) -> PortResult<Changed> {
        let (ad, cached) = (ad.clone(), Arc::clone(&self.ads));
        let put = move |group: &mut Group<'_>| {
            let body = body(&ad)?;
            let found = version(group.conn, AD_VERSION, [ad.ad_id.0.cast_signed()])?;
            let changed = changed(found, expected);
            if changed == Changed::Done {
                replace_ad(group, &ad, &body)?;
                group.after_commit(move || cached.changed(&ad.ad_id));
            }
            Ok(changed)
        };
        self.store.queue.submit(put).await
    }
}

/// What comes of a change that expects this version (`None`: nothing stored).
fn changed(found: Option<i64>, expected: Option<u64>) -> Changed {
    match (found, expected) {
        (None, None) => Changed::Done,
        (Some(found), Some(expected)) if found == expected.cast_signed() => Changed::Done,
        (None, Some(_)) => Changed::NotFound,
        (Some(_), _) => Changed::Conflict,
    }
}

#[async_trait]
impl AdCatalog for Catalog {
    async fn ad(&self, ad_id: AdId) -> PortResult<Option<Arc<Ad>>> {
        if let Some(known) = self.ads.cache.get(&ad_id) {
            return Ok(known);
        }
        let read_at = self.ads.writes();
        let query = move |conn: &Connection| one::<Ad>(conn, AD, [ad_id.0.cast_signed()]);
        let found = self.store.readers.read(query).await?.map(Arc::new);
        self.ads.keep(ad_id, found.clone(), read_at);
        Ok(found)
    }

    async fn create_ad(&self, ad: &Ad) -> PortResult<Changed> {
        self.put_ad(ad, None).await
    }

    async fn update_ad(&self, ad: &Ad, expected: u64) -> PortResult<Changed> {
        self.put_ad(ad, Some(expected)).await
    }

    async fn list_ads(&self, filter: AdFilter, after: Option<AdId>, limit: usize) -> PortResult<Vec<Ad>> {
        let (advertiser, campaign) = (
            filter.advertiser_id.map(|id| id.0.cast_signed()),
            filter.campaign_id.map(|id| id.0.cast_signed()),
        );
        let after = after.map_or(0, |id| id.0.cast_signed());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = move |conn: &Connection| {
            match (advertiser, campaign) {
            (_, Some(campaign)) => many(
                conn,
                "SELECT body FROM ads WHERE campaign_id = ?1 AND ad_id > ?2 AND (?3 IS NULL OR advertiser_id = ?3)
                 ORDER BY ad_id LIMIT ?4",
                (campaign, after, advertiser, limit),
            ),
            (Some(advertiser), None) => many(
                conn,
                "SELECT body FROM ads WHERE advertiser_id = ?1 AND ad_id > ?2 ORDER BY ad_id LIMIT ?3",
                (advertiser, after, limit),
            ),
            (None, None) => {
                many(conn, "SELECT body FROM ads WHERE ad_id > ?1 ORDER BY ad_id LIMIT ?2", (after, limit))
            }
        }
        };
        self.store.readers.read(query).await
    }

    async fn list_advertisers(
        &self,
        after: Option<AdvertiserId>,
        limit: usize,
    ) -> PortResult<Vec<AdvertiserAds>> {
        let after = after.map_or(0, |id| id.0.cast_signed());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = move |conn: &Connection| owners::advertisers(conn, after, limit);
        self.store.readers.read(query).await
    }

    async fn list_campaigns(
        &self,
        advertiser_id: Option<AdvertiserId>,
        after: Option<CampaignId>,
        limit: usize,
    ) -> PortResult<Vec<CampaignAds>> {
        let of = advertiser_id.map(|id| id.0.cast_signed());
        let after = after.map_or(0, |id| id.0.cast_signed());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = move |conn: &Connection| owners::campaigns(conn, of, after, limit);
        self.store.readers.read(query).await
    }

    async fn raise_fan_out(&self, ad_id: AdId, from: u32, to: u32) -> PortResult<bool> {
        let cached = Arc::clone(&self.ads);
        let raise = move |group: &mut Group<'_>| {
            let Some(mut ad) = one::<Ad>(group.conn, AD, [ad_id.0.cast_signed()])? else {
                return Ok(false);
            };
            if ad.fan_out != from {
                return Ok(false);
            }
            ad.fan_out = to;
            replace_ad(group, &ad, &body(&ad)?)?;
            group.after_commit(move || cached.changed(&ad_id));
            Ok(true)
        };
        self.store.queue.submit(raise).await
    }

    async fn placement(&self, slot: &SlotName) -> PortResult<Option<Arc<Placement>>> {
        if let Some(known) = self.placements.cache.get(slot) {
            return Ok(known);
        }
        let (read_at, key) = (self.placements.writes(), slot.to_string());
        let query = move |conn: &Connection| {
            one::<Placement>(conn, "SELECT body FROM placements WHERE slot = ?1", [&key])
        };
        let found = self.store.readers.read(query).await?.map(Arc::new);
        self.placements.keep(slot.clone(), found.clone(), read_at);
        Ok(found)
    }

    async fn placement_by_id(&self, placement_id: PlacementId) -> PortResult<Option<Arc<Placement>>> {
        let query = move |conn: &Connection| {
            let sql = "SELECT body FROM placements WHERE placement_id = ?1";
            one::<Placement>(conn, sql, [placement_id.0.cast_signed()])
        };
        Ok(self.store.readers.read(query).await?.map(Arc::new))
    }

    async fn put_placement(&self, placement: &Placement, expected: Option<u64>) -> PortResult<Changed> {
        let (placement, cached) = (placement.clone(), Arc::clone(&self.placements));
        let put = move |group: &mut Group<'_>| {
            let (body, id) = (body(&placement)?, placement.placement_id.0.cast_signed());
            let slot = placement.slot.as_str();
            let found = version(
                group.conn,
                "SELECT version FROM placements WHERE slot = ?1",
                [slot],
            )?;
            let elsewhere = "SELECT version FROM placements WHERE placement_id = ?1 AND slot <> ?2";
            let outcome = match version(group.conn, elsewhere, (id, slot))? {
                // The id is another slot's.
                Some(_) => Changed::Conflict,
                None => changed(found, expected),
            };
            if outcome == Changed::Done {
                group
                    .conn
                    .prepare_cached(
                        "INSERT OR REPLACE INTO placements(slot, placement_id, version, body) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute((slot, id, placement.version.cast_signed(), &body))?;
                group.after_commit(move || cached.changed(&placement.slot));
            }
            Ok(outcome)
        };
        self.store.queue.submit(put).await
    }

    async fn list_placements(&self, after: Option<&SlotName>, limit: usize) -> PortResult<Vec<Placement>> {
        // Every name is above the empty text.
        let after = after.map(ToString::to_string).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = move |conn: &Connection| {
            many(
                conn,
                "SELECT body FROM placements WHERE slot > ?1 ORDER BY slot LIMIT ?2",
                (&after, limit),
            )
        };
        self.store.readers.read(query).await
    }
}
