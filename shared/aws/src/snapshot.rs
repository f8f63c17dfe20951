//! The catalogue's snapshot on S3: every ad, written each minute, loaded when a function starts and refreshed while it runs.
//!
//! Invariant: a snapshot is replaced as a whole; one that cannot be read leaves the one before it in use.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use aws_sdk_s3::Client;
use bytes::Bytes;
use clickledger_core::domain::ad::Ad;
use clickledger_core::domain::ids::AdId;
use clickledger_core::ports::{Clock, PortError, PortResult};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::dynamodb::all_ads;
use crate::failure::{self, damaged};
use crate::patience::Patience;

/// The object's name.
const KEY: &str = "catalogue/ads.ndjson";
const VERSION: u8 = 1;
/// How old a snapshot may be before a newer one is asked for, and how often that is tried, milliseconds.
const REFRESH_MS: i64 = 60_000;

#[derive(Serialize, Deserialize)]
struct Head {
    v: u8,
    written_ms: i64,
    ads: usize,
}

/// What one object held.
struct Loaded {
    written_ms: i64,
    ads: HashMap<AdId, Arc<Ad>>,
}

/// The snapshot in memory. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot(Arc<Inner>);

struct Inner {
    client: Client,
    bucket: String,
    patience: Patience,
    loaded: ArcSwapOption<Loaded>,
    /// Ads that this process has changed since: the snapshot does not answer for them.
    outdated: Mutex<HashSet<AdId>>,
    tried_ms: Mutex<i64>,
    refreshing: AtomicBool,
}

/// Writes the snapshot.
#[derive(Clone)]
pub struct SnapshotWriter {
    client: Client,
    bucket: String,
    dynamodb: aws_sdk_dynamodb::Client,
    table: String,
    clock: Arc<dyn Clock>,
    patience: Patience,
}

impl Aws {
    /// The snapshot, not loaded yet.
    ///
    /// # Errors
    /// The bucket's name is missing.
    pub fn snapshot(&self, patience: Patience) -> Result<Snapshot, ConfigError> {
        Ok(Snapshot(Arc::new(Inner {
            client: self.s3(),
            bucket: self.name(Resource::Bucket)?,
            patience,
            loaded: ArcSwapOption::empty(),
            outdated: Mutex::default(),
            tried_ms: Mutex::new(i64::MIN),
            refreshing: AtomicBool::new(false),
        })))
    }

    /// The snapshot's writer, for the function that a schedule calls each minute.
    ///
    /// # Errors
    /// The name of the bucket or of the table of ads is missing.
    pub fn snapshot_writer(&self, patience: Patience) -> Result<SnapshotWriter, ConfigError> {
        Ok(SnapshotWriter {
            client: self.s3(),
            bucket: self.name(Resource::Bucket)?,
            dynamodb: self.dynamodb(),
            table: self.name(Resource::Ads)?,
            clock: self.clock(),
            patience,
        })
    }
}

impl SnapshotWriter {
    /// Reads every ad and writes the snapshot; says how many there are.
    ///
    /// # Errors
    /// The table or the bucket does not answer; the snapshot before stays.
    pub async fn write(&self) -> PortResult<usize> {
        // Taken before the first read: what changes from then on may be missing.
        let written_ms = self.clock.now_ms();
        let ads = all_ads(&self.dynamodb, &self.table, self.patience).await?;
        let object = Bytes::from(encode(written_ms, &ads)?);
        let put = || async {
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(KEY)
                .content_type("application/x-ndjson")
                .body(object.clone().into())
                .send()
                .await
                .map_err(failure::of_sdk)
                .map(drop)
        };
        self.patience.run(put).await?;
        Ok(ads.len())
    }
}

fn encode(written_ms: i64, ads: &[Ad]) -> PortResult<Vec<u8>> {
    let head = Head {
        v: VERSION,
        written_ms,
        ads: ads.len(),
    };
    let mut lines = Vec::with_capacity(64 + ads.len() * 320);
    serde_json::to_writer(&mut lines, &head).map_err(PortError::rejected)?;
    for ad in ads {
        lines.push(b'\n');
        serde_json::to_writer(&mut lines, ad).map_err(PortError::rejected)?;
    }
    lines.push(b'\n');
    Ok(lines)
}

fn decode(object: &[u8]) -> PortResult<Loaded> {
    let bad = |_| damaged("the catalogue's snapshot");
    let mut lines = object
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let head: Head = serde_json::from_slice(lines.next().unwrap_or_default()).map_err(bad)?;
    if head.v != VERSION {
        return Err(damaged("the catalogue's snapshot is of another version"));
    }
    let mut ads = HashMap::with_capacity(head.ads);
    for line in lines {
        let ad: Ad = serde_json::from_slice(line).map_err(bad)?;
        ads.insert(ad.ad_id, Arc::new(ad));
    }
    if ads.len() != head.ads {
        return Err(damaged("the catalogue's snapshot is cut off"));
    }
    Ok(Loaded {
        written_ms: head.written_ms,
        ads,
    })
}

impl Snapshot {
    /// Loads the newest snapshot; says how many ads it has, `None` where none was written yet.
    ///
    /// # Errors
    /// The bucket does not answer, or what it holds cannot be read.
    pub async fn load(&self) -> PortResult<Option<usize>> {
        let inner = &self.0;
        let read = || async {
            let get = inner.client.get_object().bucket(&inner.bucket).key(KEY);
            let object = match get.send().await {
                Ok(object) => object,
                Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => {
                    return Ok(None);
                }
                Err(error) => return Err(failure::of_sdk(error)),
            };
            let body = object.body.collect().await.map_err(PortError::ambiguous)?;
            Ok(Some(body.into_bytes()))
        };
        let Some(object) = inner.patience.run(read).await? else {
            return Ok(None);
        };
        let loaded = decode(&object)?;
        let count = loaded.ads.len();
        let newer = inner
            .loaded
            .load()
            .as_ref()
            .is_none_or(|before| before.written_ms < loaded.written_ms);
        if newer {
            inner.loaded.store(Some(Arc::new(loaded)));
        }
        Ok(Some(count))
    }

    /// The ad, and when the snapshot was written (Unix milliseconds). An old snapshot is refreshed behind the caller's back.
    pub(crate) fn ad(&self, ad_id: AdId, now_ms: i64) -> Option<(Arc<Ad>, i64)> {
        let loaded = self.0.loaded.load();
        let written_ms = loaded.as_ref().map_or(i64::MIN, |loaded| loaded.written_ms);
        if now_ms.saturating_sub(written_ms) >= REFRESH_MS {
            self.refresh_behind(now_ms);
        }
        let loaded = loaded.as_ref()?;
        if self.outdated_ads().contains(&ad_id) {
            return None;
        }
        Some((Arc::clone(loaded.ads.get(&ad_id)?), written_ms))
    }

    /// The ad was changed by this process, which reads what it wrote: it is asked of the table from now on.
    pub(crate) fn outdated(&self, ad_id: AdId) {
        self.outdated_ads().insert(ad_id);
    }

    fn outdated_ads(&self) -> std::sync::MutexGuard<'_, HashSet<AdId>> {
        self.0.outdated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads in a task of its own, once a minute at most. Nobody waits for it.
    fn refresh_behind(&self, now_ms: i64) {
        {
            let mut tried_ms = self.0.tried_ms.lock().unwrap_or_else(PoisonError::into_inner);
            if now_ms.saturating_sub(*tried_ms) < REFRESH_MS / 4 {
                return;
            }
            *tried_ms = now_ms;
        }
        if self.0.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let snapshot = self.clone();
        tokio::spawn(async move {
            if let Err(error) = snapshot.load().await {
                tracing::warn!(%error, "the catalogue's snapshot could not be refreshed");
            }
            snapshot.0.refreshing.store(false, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use clickledger_core::domain::ad::{AdStatus, RedirectUrl};
    use clickledger_core::domain::ids::{AdvertiserId, CampaignId};

    use super::*;

    fn ad(id: u64) -> Ad {
        Ad {
            ad_id: AdId(id),
            campaign_id: CampaignId(12),
            advertiser_id: AdvertiserId(9),
            redirect_url: RedirectUrl::parse("https://shop.example/").unwrap(),
            title: Some("two\nlines".to_owned()),
            image_url: None,
            status: AdStatus::Paused,
            fan_out: 4,
            version: 3,
            created_ms: 5,
        }
    }

    #[test]
    fn a_snapshot_holds_its_ads_and_a_cut_one_is_none() {
        let ads = [ad(1), ad(2), ad(3)];
        let lines = encode(77, &ads).unwrap();
        let loaded = decode(&lines).unwrap();
        assert_eq!(loaded.written_ms, 77);
        for ad in &ads {
            assert_eq!(loaded.ads[&ad.ad_id].as_ref(), ad);
        }
        assert_eq!(decode(&encode(78, &[]).unwrap()).unwrap().ads.len(), 0);
        let second = lines.iter().position(|byte| *byte == b'\n').unwrap();
        for cut in [0, 5, second, second + 1, lines.len() - 3] {
            assert!(decode(&lines[..cut]).is_err(), "{cut} bytes");
        }
    }
}
