//! [`AdCatalog`]: conditional changes, seen at once by whoever made them.

use std::sync::Arc;

use clickledger_core::domain::ad::{Ad, AdStatus, Placement, RedirectUrl, SlotEntry};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId, SlotName};
use clickledger_core::ports::{AdCatalog, AdFilter, CampaignAds, Changed};
use futures_util::future::join_all;

use super::{NOW_MS, unique};

fn ad() -> Ad {
    Ad {
        ad_id: AdId(unique::number()),
        campaign_id: CampaignId(unique::number()),
        advertiser_id: AdvertiserId(unique::number()),
        redirect_url: RedirectUrl::parse("https://shop.example/a?b=c#d").unwrap(),
        title: Some("Schöne \"Schuhe\"".to_owned()),
        image_url: Some(RedirectUrl::parse("https://shop.example/a.png").unwrap()),
        status: AdStatus::Active,
        fan_out: 1,
        version: 1,
        created_ms: NOW_MS,
    }
}

fn placement() -> Placement {
    let number = unique::number();
    Placement {
        slot: format!("slot-{number:016}").parse().unwrap(),
        placement_id: PlacementId(number),
        entries: vec![
            SlotEntry {
                ad_id: AdId(unique::number()),
                weight: 3,
            },
            SlotEntry {
                ad_id: AdId(1),
                weight: 1,
            },
        ],
        site: Some("https://news.example".to_owned()),
        version: 1,
    }
}

async fn stored(catalog: &dyn AdCatalog, ad_id: AdId) -> Option<Ad> {
    catalog.ad(ad_id).await.unwrap().as_deref().cloned()
}

async fn in_slot(catalog: &dyn AdCatalog, slot: &SlotName) -> Option<Placement> {
    catalog.placement(slot).await.unwrap().as_deref().cloned()
}

/// Asked before and after: an answer that nothing is there is not remembered beyond the creation.
pub async fn new_ad_is_seen_at_once(catalog: &dyn AdCatalog) {
    let full = ad();
    let bare = Ad {
        title: None,
        image_url: None,
        status: AdStatus::Archived,
        ..ad()
    };
    for ad in [full, bare] {
        assert_eq!(stored(catalog, ad.ad_id).await, None);
        assert_eq!(catalog.create_ad(&ad).await.unwrap(), Changed::Done);
        assert_eq!(stored(catalog, ad.ad_id).await, Some(ad));
    }
}

/// A taken id is refused; so is a creation that is tried again because its answer was lost.
pub async fn ad_id_is_taken_once(catalog: &dyn AdCatalog) {
    let first = ad();
    catalog.create_ad(&first).await.unwrap();
    let other = Ad {
        ad_id: first.ad_id,
        ..ad()
    };
    assert_eq!(catalog.create_ad(&other).await.unwrap(), Changed::Conflict);
    assert_eq!(catalog.create_ad(&first).await.unwrap(), Changed::Conflict);
    assert_eq!(stored(catalog, first.ad_id).await, Some(first));
}

/// Only from the expected version; a change that is tried again finds its own version and is a conflict.
pub async fn ad_changes_from_its_expected_version_only(catalog: &dyn AdCatalog) {
    let first = ad();
    catalog.create_ad(&first).await.unwrap();
    let second = Ad {
        status: AdStatus::Paused,
        campaign_id: CampaignId(unique::number()),
        version: 2,
        ..first.clone()
    };
    for wrong in [0, 2] {
        assert_eq!(
            catalog.update_ad(&second, wrong).await.unwrap(),
            Changed::Conflict
        );
        assert_eq!(stored(catalog, first.ad_id).await, Some(first.clone()));
    }
    assert_eq!(catalog.update_ad(&second, 1).await.unwrap(), Changed::Done);
    assert_eq!(stored(catalog, first.ad_id).await, Some(second.clone()));
    assert_eq!(catalog.update_ad(&second, 1).await.unwrap(), Changed::Conflict);
    assert_eq!(stored(catalog, first.ad_id).await, Some(second));
    assert_eq!(catalog.update_ad(&ad(), 1).await.unwrap(), Changed::NotFound);
}

/// Of several changes from one version, at the same time, one is made.
pub async fn concurrent_changes_of_one_version_make_one(catalog: &dyn AdCatalog) {
    let first = ad();
    catalog.create_ad(&first).await.unwrap();
    let changes: Vec<Ad> = (0..16)
        .map(|n| Ad {
            title: Some(n.to_string()),
            version: 2,
            ..first.clone()
        })
        .collect();
    let outcomes = join_all(changes.iter().map(|ad| catalog.update_ad(ad, 1))).await;
    let outcomes: Vec<Changed> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == Changed::Done)
            .count(),
        1,
        "{outcomes:?}"
    );
    let winner = outcomes
        .iter()
        .position(|outcome| *outcome == Changed::Done)
        .unwrap();
    assert_eq!(
        stored(catalog, first.ad_id).await.as_ref(),
        Some(&changes[winner])
    );
}

/// From the number that was seen only, so that two who saw the same double it once; the version stays.
pub async fn fan_out_is_raised_once(catalog: &dyn AdCatalog) {
    let ad = ad();
    catalog.create_ad(&ad).await.unwrap();
    stored(catalog, ad.ad_id).await;
    let raised = join_all((0..4).map(|_| catalog.raise_fan_out(ad.ad_id, 1, 2))).await;
    assert_eq!(
        raised
            .into_iter()
            .filter(|raised| *raised.as_ref().unwrap())
            .count(),
        1
    );
    assert_eq!(
        stored(catalog, ad.ad_id).await,
        Some(Ad {
            fan_out: 2,
            ..ad.clone()
        })
    );
    assert!(!catalog.raise_fan_out(ad.ad_id, 1, 2).await.unwrap());
    assert!(catalog.raise_fan_out(ad.ad_id, 2, 4).await.unwrap());
    assert_eq!(stored(catalog, ad.ad_id).await, Some(Ad { fan_out: 4, ..ad }));
    assert!(!catalog.raise_fan_out(AdId(unique::number()), 1, 2).await.unwrap());
}

async fn listed(catalog: &dyn AdCatalog, filter: AdFilter, from: Option<AdId>) -> Vec<Ad> {
    let mut listed: Vec<Ad> = Vec::new();
    loop {
        let after = listed.last().map(|ad| ad.ad_id).or(from);
        let page = catalog.list_ads(filter, after, 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            return listed;
        }
        listed.extend(page);
    }
}

/// Pages in the order of ids hold every ad once, by advertiser, by campaign, by both, and altogether.
pub async fn listing_ads_pages_through_every_ad(catalog: &dyn AdCatalog) {
    let (advertiser_id, campaign_id) = (AdvertiserId(unique::number()), CampaignId(unique::number()));
    let mut ads: Vec<Ad> = (0..6)
        .map(|_| Ad {
            advertiser_id,
            ..ad()
        })
        .collect();
    ads.iter_mut().take(3).for_each(|ad| ad.campaign_id = campaign_id);
    let foreign = Ad { campaign_id, ..ad() };
    // Created in the opposite order of their ids.
    for ad in ads.iter().rev().chain([&foreign]) {
        catalog.create_ad(ad).await.unwrap();
    }
    let by_advertiser = AdFilter {
        advertiser_id: Some(advertiser_id),
        campaign_id: None,
    };
    assert_eq!(listed(catalog, by_advertiser, None).await, ads);
    assert_eq!(listed(catalog, by_advertiser, Some(ads[3].ad_id)).await, ads[4..]);
    let by_campaign = AdFilter {
        advertiser_id: None,
        campaign_id: Some(campaign_id),
    };
    let mut of_campaign = ads[..3].to_vec();
    of_campaign.push(foreign.clone());
    assert_eq!(listed(catalog, by_campaign, None).await, of_campaign);
    let by_both = AdFilter {
        advertiser_id: Some(advertiser_id),
        campaign_id: Some(campaign_id),
    };
    assert_eq!(listed(catalog, by_both, None).await, ads[..3]);
    let before = AdId(ads[0].ad_id.0 - 1);
    let mut all = listed(catalog, AdFilter::default(), Some(before)).await;
    assert!(all.windows(2).all(|two| two[0].ad_id < two[1].ad_id));
    all.retain(|listed| ads.contains(listed));
    assert_eq!(all, ads);
    // An ad that moves to another campaign is listed there.
    let moved = Ad {
        campaign_id: CampaignId(unique::number()),
        version: 2,
        ..ads[0].clone()
    };
    assert_eq!(catalog.update_ad(&moved, 1).await.unwrap(), Changed::Done);
    assert_eq!(listed(catalog, by_both, None).await, ads[1..3]);
}

/// Pages in the order of ids hold every advertiser and campaign that has an ad, with how many, archived ones too.
pub async fn owners_of_ads_are_listed_with_their_ads(catalog: &dyn AdCatalog) {
    // Ascending.
    let advertisers: Vec<AdvertiserId> = (0..3).map(|_| AdvertiserId(unique::number())).collect();
    let campaigns: Vec<CampaignId> = (0..4).map(|_| CampaignId(unique::number())).collect();
    // By advertiser and campaign, how many ads.
    let held = [(0, 3, 1), (0, 0, 2), (2, 1, 3), (1, 2, 1)];
    for (advertiser, campaign, ads) in held {
        for n in 0..ads {
            let ad = Ad {
                advertiser_id: advertisers[advertiser],
                campaign_id: campaigns[campaign],
                status: if n == 0 {
                    AdStatus::Archived
                } else {
                    AdStatus::Active
                },
                ..ad()
            };
            catalog.create_ad(&ad).await.unwrap();
        }
    }
    let campaign = |campaign: usize, advertiser: usize, ads| CampaignAds {
        campaign_id: campaigns[campaign],
        advertiser_id: advertisers[advertiser],
        ads,
    };
    let before = CampaignId(campaigns[0].0 - 1);
    let (mut after, mut listed) = (Some(before), Vec::new());
    loop {
        let page = catalog.list_campaigns(None, after, 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.campaign_id);
        listed.extend(page);
    }
    assert!(
        listed
            .windows(2)
            .all(|two| two[0].campaign_id < two[1].campaign_id)
    );
    listed.retain(|listed| campaigns.contains(&listed.campaign_id));
    assert_eq!(
        listed,
        [
            campaign(0, 0, 2),
            campaign(1, 2, 3),
            campaign(2, 1, 1),
            campaign(3, 0, 1)
        ]
    );
    let of = async |advertiser: usize, after, limit| {
        catalog
            .list_campaigns(Some(advertisers[advertiser]), after, limit)
            .await
            .unwrap()
    };
    assert_eq!(of(0, None, 9).await, [campaign(0, 0, 2), campaign(3, 0, 1)]);
    assert_eq!(of(0, None, 1).await, [campaign(0, 0, 2)]);
    assert_eq!(of(0, Some(campaigns[0]), 9).await, [campaign(3, 0, 1)]);
    let nobody = AdvertiserId(unique::number());
    assert_eq!(catalog.list_campaigns(Some(nobody), None, 9).await.unwrap(), []);

    let before = AdvertiserId(advertisers[0].0 - 1);
    let (mut after, mut listed) = (Some(before), Vec::new());
    loop {
        let page = catalog.list_advertisers(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.advertiser_id);
        listed.extend(page);
    }
    assert!(
        listed
            .windows(2)
            .all(|two| two[0].advertiser_id < two[1].advertiser_id)
    );
    listed.retain(|listed| advertisers.contains(&listed.advertiser_id));
    let ads: Vec<u64> = listed.iter().map(|listed| listed.ads).collect();
    assert_eq!(ads, [3, 1, 3]);

    // A campaign that two advertisers began in the same moment is the older ad's.
    let shared = CampaignId(unique::number());
    let older = Ad {
        advertiser_id: advertisers[1],
        campaign_id: shared,
        ..ad()
    };
    let younger = Ad {
        advertiser_id: advertisers[0],
        campaign_id: shared,
        ..ad()
    };
    for ad in [&younger, &older] {
        catalog.create_ad(ad).await.unwrap();
    }
    let listed = catalog
        .list_campaigns(None, Some(CampaignId(shared.0 - 1)), 1)
        .await
        .unwrap();
    let expected = CampaignAds {
        campaign_id: shared,
        advertiser_id: advertisers[1],
        ads: 2,
    };
    assert_eq!(listed, [expected]);
}

/// By slot and by id; asked before and after.
pub async fn new_placement_is_seen_at_once(catalog: &dyn AdCatalog) {
    let full = placement();
    let bare = Placement {
        entries: Vec::new(),
        site: None,
        ..placement()
    };
    for placement in [full, bare] {
        assert_eq!(in_slot(catalog, &placement.slot).await, None);
        assert_eq!(
            catalog.placement_by_id(placement.placement_id).await.unwrap(),
            None
        );
        assert_eq!(
            catalog.put_placement(&placement, None).await.unwrap(),
            Changed::Done
        );
        assert_eq!(in_slot(catalog, &placement.slot).await, Some(placement.clone()));
        let by_id = catalog.placement_by_id(placement.placement_id).await.unwrap();
        assert_eq!(by_id, Some(Arc::new(placement)));
    }
}

/// Only from the expected version; what is tried again because its answer was lost is a conflict.
pub async fn placement_changes_from_its_expected_version_only(catalog: &dyn AdCatalog) {
    let first = placement();
    assert_eq!(
        catalog.put_placement(&first, Some(1)).await.unwrap(),
        Changed::NotFound
    );
    assert_eq!(catalog.put_placement(&first, None).await.unwrap(), Changed::Done);
    assert_eq!(
        catalog.put_placement(&first, None).await.unwrap(),
        Changed::Conflict
    );
    let second = Placement {
        entries: Vec::new(),
        version: 2,
        ..first.clone()
    };
    for wrong in [None, Some(0), Some(2)] {
        assert_eq!(
            catalog.put_placement(&second, wrong).await.unwrap(),
            Changed::Conflict,
            "{wrong:?}"
        );
    }
    assert_eq!(in_slot(catalog, &first.slot).await, Some(first.clone()));
    assert_eq!(
        catalog.put_placement(&second, Some(1)).await.unwrap(),
        Changed::Done
    );
    assert_eq!(
        catalog.put_placement(&second, Some(1)).await.unwrap(),
        Changed::Conflict
    );
    assert_eq!(in_slot(catalog, &first.slot).await, Some(second));
}

/// Pages in the order of slots hold every placement once.
pub async fn listing_placements_pages_through_every_slot(catalog: &dyn AdCatalog) {
    let mut placements: Vec<Placement> = (0..5).map(|_| placement()).collect();
    for placement in placements.iter().rev() {
        catalog.put_placement(placement, None).await.unwrap();
    }
    placements.sort_by(|a, b| a.slot.cmp(&b.slot));
    let mut listed: Vec<Placement> = Vec::new();
    loop {
        let page = catalog
            .list_placements(listed.last().map(|placement| &placement.slot), 2)
            .await
            .unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert!(listed.windows(2).all(|two| two[0].slot < two[1].slot));
    listed.retain(|listed| placements.contains(listed));
    assert_eq!(listed, placements);
}

/// Makes a test of every case.
#[macro_export]
macro_rules! ad_catalog_contract {
    ($open:path) => {
        $crate::contract_cases!(
            catalog as ad_catalog,
            $open,
            [
                new_ad_is_seen_at_once,
                ad_id_is_taken_once,
                ad_changes_from_its_expected_version_only,
                concurrent_changes_of_one_version_make_one,
                fan_out_is_raised_once,
                listing_ads_pages_through_every_ad,
                owners_of_ads_are_listed_with_their_ads,
                new_placement_is_seen_at_once,
                placement_changes_from_its_expected_version_only,
                listing_placements_pages_through_every_slot,
            ]
        );
    };
}
