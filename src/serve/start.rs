//! The first start of a data folder, and what every start must find: an administration key, and the demo page's ads.
//!
//! Invariant: an administration key is shown once and only at the first start; the demo exists on loopback addresses only,
//! and its page's key opens nothing but the demo advertiser's counts.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use clickledger_core::domain::ad::SlotEntry;
use clickledger_core::domain::api_key::{PresentedKey, Scope};
use clickledger_core::domain::ids::{AdvertiserId, CampaignId, SlotName};
use clickledger_core::service::ads::{AdPatch, NewAd};
use clickledger_core::service::keys::Inserted;
use clickledger_core::service::placements::Expect;
use clickledger_http::{Demo, Services};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// "demo" in ASCII: no id that anybody would choose.
const DEMO: u64 = 0x6465_6d6f;
const SLOTS: [(&str, &str); 3] = [
    ("demo-top", "Across the sound in forty minutes"),
    ("demo-side", "Oilskins that outlast the weather"),
    ("demo-foot", "Books for people who count"),
];

/// What there is about the administration key.
pub(super) enum AdminKey {
    /// There are keys, or the environment's was stored: nothing to show.
    Known,
    /// Made now, to be shown this once.
    Made(String),
}

/// Sees to an administration key. Says also whether this is the folder's first start.
pub(super) async fn admin_key(
    services: &Services,
    given: Option<&PresentedKey>,
    address: SocketAddr,
) -> Result<(AdminKey, bool)> {
    let keys = &services.keys;
    let first = !keys.any().await.context("reading the API keys")?;
    if let Some(given) = given {
        match keys.insert(given, Scope::Admin).await? {
            Inserted::Created(key) => {
                tracing::info!(key_id = %key.key_id, "the given administration key is stored");
            }
            Inserted::Existed(_) => {}
            Inserted::Taken => {
                tracing::warn!(key_id = %given.key_id, "the key in CLICKLEDGER_ADMIN_KEY is revoked or not an administrator's: it opens nothing new");
            }
        }
        return Ok((AdminKey::Known, first));
    }
    if !first {
        return Ok((AdminKey::Known, first));
    }
    if !address.ip().is_loopback() {
        bail!(
            "{address} is not a loopback address and there is no administration key yet: set CLICKLEDGER_ADMIN_KEY \
             (`clickledger keys generate` makes one), or start once on a loopback address, which prints one"
        );
    }
    let (_, text) = keys.create(Scope::Admin).await?;
    Ok((AdminKey::Made(text), first))
}

/// The demo: made at a first start, and led to where this server listens now at every other. `None` where there is none.
pub(super) async fn demo(
    services: &Services,
    first: bool,
    own_url: &str,
    secret: &[u8; 32],
) -> Result<Option<Demo>> {
    let mut any = false;
    for (number, (slot, title)) in (1..).zip(SLOTS) {
        let slot: SlotName = slot.parse().context("a demo slot's name")?;
        let landing = format!("{own_url}/demo/landing/{number}");
        any |= match services.placements.get(&slot).await? {
            Some(placement) => {
                let mut ours = false;
                for entry in &placement.entries {
                    ours |= lead(services, entry, number, &landing).await?;
                }
                ours
            }
            None if first => {
                seed(services, &slot, title, landing).await?;
                true
            }
            None => false,
        };
    }
    if !any {
        return Ok(None);
    }
    let advertiser_id = AdvertiserId(DEMO);
    let scope = Scope::Advertiser {
        advertiser_id,
        read_only: true,
    };
    // The same key at every start: an open page goes on after a restart, and no keys pile up.
    let key = derived(secret);
    if let Inserted::Taken = services.keys.insert(&key, scope).await? {
        tracing::info!("the demo page's key is revoked: the page shows no counts");
        return Ok(None);
    }
    Ok(Some(Demo {
        key: key.reveal(),
        advertiser_id,
    }))
}

async fn seed(services: &Services, slot: &SlotName, title: &str, landing: String) -> Result<()> {
    let ad = NewAd {
        advertiser_id: AdvertiserId(DEMO),
        campaign_id: CampaignId(DEMO),
        redirect_url: landing,
        title: Some(title.to_owned()),
        image_url: None,
        status: None,
        fan_out: None,
    };
    let ad = services.ads.create(&Scope::Admin, ad).await?;
    let entry = SlotEntry {
        ad_id: ad.ad_id,
        weight: 1,
    };
    services
        .placements
        .put(&Scope::Admin, slot, &[entry], None, Expect::Absent)
        .await?;
    Ok(())
}

/// Leads a demo ad to `landing`; says whether it is one.
async fn lead(services: &Services, entry: &SlotEntry, number: u32, landing: &str) -> Result<bool> {
    let Some(ad) = services.ads.get(&Scope::Admin, entry.ad_id).await? else {
        return Ok(false);
    };
    if ad.advertiser_id != AdvertiserId(DEMO) {
        return Ok(false);
    }
    let url = ad.redirect_url.as_str();
    if url != landing && url.ends_with(&format!("/demo/landing/{number}")) {
        let patch = AdPatch {
            redirect_url: Some(landing.to_owned()),
            ..AdPatch::default()
        };
        services
            .ads
            .update(&Scope::Admin, ad.ad_id, &patch, Some(ad.version))
            .await?;
    }
    Ok(true)
}

/// A key that only this data folder's secret can make.
fn derived(secret: &[u8; 32]) -> PresentedKey {
    let of = |purpose: &[u8]| -> [u8; 32] {
        // Unwrap safety: HMAC takes keys of any length.
        #[allow(clippy::unwrap_used)]
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(purpose);
        mac.finalize().into_bytes().into()
    };
    let mut id = [0; 9];
    id.copy_from_slice(&of(b"clickledger demo page: key id")[..9]);
    PresentedKey::generate(id, of(b"clickledger demo page: secret"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_key_is_the_same_for_the_same_folder_only() {
        let key = derived(&[1; 32]).reveal();
        assert_eq!(key, derived(&[1; 32]).reveal());
        assert_ne!(key, derived(&[2; 32]).reveal());
        assert!(key.parse::<PresentedKey>().is_ok());
    }
}
