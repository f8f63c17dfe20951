//! What the operators of the demo do: make ads, fill slots, begin and pause campaigns, favour an ad.
//!
//! Invariant: ads that are paused stay in their slots, as in life; a slot never shows them.

use std::collections::HashSet;

use anyhow::Result;
use clickledger_core::domain::ad::{AdStatus, SlotEntry};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, SlotName};
use clickledger_core::service::ads::{AdPatch, NewAd};

use super::cast::{ADVERTISERS, Ad, Advertiser, Campaign, HOT_AD, SLOTS};
use super::story::Story;
use super::world::World;

/// By how much more often the hot ad is shown.
const FAVOUR: u32 = 9;

/// A campaign, as far as it has come.
struct Running {
    advertiser: &'static Advertiser,
    campaign: &'static Campaign,
    ads: Vec<(AdId, &'static Ad)>,
    paused: bool,
}

/// The stage.
pub(super) struct Stage {
    story: Story,
    slots: Vec<SlotName>,
    campaigns: Vec<Running>,
    paused: HashSet<AdId>,
    favoured: bool,
}

/// The slot whose publisher has a key.
pub(super) fn first_slot() -> Result<SlotName> {
    Ok(SLOTS[0].name.parse()?)
}

impl Stage {
    pub(super) fn new(story: Story) -> Result<Self> {
        let of = |advertiser: &'static Advertiser| {
            advertiser.campaigns.iter().map(move |campaign| Running {
                advertiser,
                campaign,
                ads: Vec::new(),
                paused: false,
            })
        };
        Ok(Self {
            story,
            slots: SLOTS
                .iter()
                .map(|slot| Ok(slot.name.parse()?))
                .collect::<Result<_>>()?,
            campaigns: ADVERTISERS.iter().flat_map(of).collect(),
            paused: HashSet::new(),
            favoured: false,
        })
    }

    /// The ads whose clicks are not valid.
    pub(super) fn paused(&self) -> &HashSet<AdId> {
        &self.paused
    }

    /// Does what is due at this time.
    pub(super) async fn act(&mut self, world: &World, now_ms: i64) -> Result<()> {
        let progress = self.story.progress(now_ms);
        let mut refill = false;
        for running in &mut self.campaigns {
            if running.ads.is_empty() && progress >= running.campaign.starts {
                for ad in running.campaign.ads {
                    let made = NewAd {
                        advertiser_id: AdvertiserId(running.advertiser.id),
                        campaign_id: CampaignId(running.campaign.id),
                        redirect_url: ad.url.to_owned(),
                        title: Some(ad.title.to_owned()),
                        image_url: None,
                        status: None,
                        fan_out: None,
                    };
                    running.ads.push((world.ad(made).await?, ad));
                }
                refill = true;
            }
            if !running.paused && progress >= running.campaign.pauses {
                let pause = AdPatch {
                    status: Some(AdStatus::Paused),
                    ..AdPatch::default()
                };
                for (ad_id, _) in &running.ads {
                    world.change(*ad_id, &pause).await?;
                    self.paused.insert(*ad_id);
                }
                running.paused = true;
            }
        }
        let favoured = self.story.hot.contains(&now_ms);
        if refill || favoured != self.favoured {
            self.favoured = favoured;
            self.refill(world).await?;
        }
        Ok(())
    }

    async fn refill(&self, world: &World) -> Result<()> {
        for (name, slot) in self.slots.iter().zip(SLOTS) {
            let shown = self
                .campaigns
                .iter()
                .filter(|running| slot.shows.contains(&running.advertiser.id));
            let entries: Vec<SlotEntry> = shown
                .flat_map(|running| &running.ads)
                .map(|(ad_id, ad)| SlotEntry {
                    ad_id: *ad_id,
                    weight: match self.favoured && ad.title == HOT_AD {
                        true => ad.weight * FAVOUR,
                        false => ad.weight,
                    },
                })
                .collect();
            world.fill(name, &entries, slot.site).await?;
        }
        Ok(())
    }
}
