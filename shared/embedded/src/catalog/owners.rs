//! Whose ads there are: advertisers and campaigns, counted out of the ads' indexes.
//!
//! Invariant: nothing of it is stored, so it cannot disagree with the ads.

use clickledger_core::domain::ids::{AdvertiserId, CampaignId};
use clickledger_core::ports::{AdvertiserAds, CampaignAds};
use rusqlite::{Connection, Params, Row};

use crate::failure::Failure;

/// Read from the index alone.
const ADVERTISERS: &str = "SELECT advertiser_id, COUNT(*) FROM ads WHERE advertiser_id > ?1
     GROUP BY advertiser_id ORDER BY advertiser_id LIMIT ?2";
/// Beside a lone `min` SQLite takes the other columns from the row that has it: the oldest ad's.
const CAMPAIGNS: &str =
    "SELECT campaign_id, advertiser_id, COUNT(*), min(ad_id) FROM ads WHERE campaign_id > ?1
     GROUP BY campaign_id ORDER BY campaign_id LIMIT ?2";
const CAMPAIGNS_OF: &str = "SELECT campaign_id, advertiser_id, COUNT(*), min(ad_id) FROM ads
     WHERE advertiser_id = ?3 AND campaign_id > ?1 GROUP BY campaign_id ORDER BY campaign_id LIMIT ?2";

fn rows<T>(
    conn: &Connection,
    sql: &str,
    key: impl Params,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Failure> {
    let mut select = conn.prepare_cached(sql)?;
    let found: rusqlite::Result<Vec<T>> = select.query_map(key, |row| read(row))?.collect();
    Ok(found?)
}

pub(super) fn advertisers(conn: &Connection, after: i64, limit: i64) -> Result<Vec<AdvertiserAds>, Failure> {
    rows(conn, ADVERTISERS, (after, limit), |row| {
        Ok(AdvertiserAds {
            advertiser_id: AdvertiserId(row.get::<_, i64>(0)?.cast_unsigned()),
            ads: row.get::<_, i64>(1)?.cast_unsigned(),
        })
    })
}

pub(super) fn campaigns(
    conn: &Connection,
    advertiser: Option<i64>,
    after: i64,
    limit: i64,
) -> Result<Vec<CampaignAds>, Failure> {
    let read = |row: &Row<'_>| {
        Ok(CampaignAds {
            campaign_id: CampaignId(row.get::<_, i64>(0)?.cast_unsigned()),
            advertiser_id: AdvertiserId(row.get::<_, i64>(1)?.cast_unsigned()),
            ads: row.get::<_, i64>(2)?.cast_unsigned(),
        })
    };
    match advertiser {
        Some(advertiser) => rows(conn, CAMPAIGNS_OF, (after, limit, advertiser), read),
        None => rows(conn, CAMPAIGNS, (after, limit), read),
    }
}
