//! The table of ads: items, conditional changes, pages.

use aws_sdk_dynamodb::Client;
use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId};
use clickledger_core::ports::{AdFilter, Changed, PortResult};

use super::conditional;
use super::item::{Item, item, n, number, optional_text, s, text};
use super::pages;
use crate::failure::{self, damaged};
use crate::patience::Patience;

/// The partition of the index that lists all ads.
const LISTED: &str = "ad";

fn status_text(status: AdStatus) -> &'static str {
    match status {
        AdStatus::Active => "active",
        AdStatus::Paused => "paused",
        AdStatus::Archived => "archived",
    }
}

fn url(text: &str, name: &str) -> PortResult<RedirectUrl> {
    RedirectUrl::parse(text).map_err(|_| damaged(name))
}

fn to_item(ad: &Ad) -> Item {
    let mut item = item([
        ("ad_id", n(ad.ad_id)),
        ("listed", s(LISTED)),
        ("campaign_id", n(ad.campaign_id)),
        ("advertiser_id", n(ad.advertiser_id)),
        ("redirect_url", s(ad.redirect_url.as_str())),
        ("status", s(status_text(ad.status))),
        ("fan_out", n(ad.fan_out)),
        ("version", n(ad.version)),
        ("created_ms", n(ad.created_ms)),
    ]);
    if let Some(title) = &ad.title {
        item.insert("title".to_owned(), s(title));
    }
    if let Some(image_url) = &ad.image_url {
        item.insert("image_url".to_owned(), s(image_url.as_str()));
    }
    item
}

fn of_item(item: &Item) -> PortResult<Ad> {
    let status = match text(item, "status")? {
        "active" => AdStatus::Active,
        "paused" => AdStatus::Paused,
        "archived" => AdStatus::Archived,
        _ => return Err(damaged("status")),
    };
    Ok(Ad {
        ad_id: AdId(number(item, "ad_id")?),
        campaign_id: CampaignId(number(item, "campaign_id")?),
        advertiser_id: AdvertiserId(number(item, "advertiser_id")?),
        redirect_url: url(text(item, "redirect_url")?, "redirect_url")?,
        title: optional_text(item, "title")?.map(str::to_owned),
        image_url: optional_text(item, "image_url")?
            .map(|text| url(text, "image_url"))
            .transpose()?,
        status,
        fan_out: number(item, "fan_out")?,
        version: number(item, "version")?,
        created_ms: number(item, "created_ms")?,
    })
}

/// The table, through one client.
#[derive(Clone)]
pub(super) struct AdsTable {
    pub(super) client: Client,
    pub(super) table: String,
}

impl AdsTable {
    /// The ad of this id, read strongly consistent: an ad that was just made is found.
    pub(super) async fn get(&self, ad_id: AdId, patience: Patience) -> PortResult<Option<Ad>> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true)
            .key("ad_id", n(ad_id));
        let read = || async { get.clone().send().await.map_err(failure::of_sdk) };
        let output = patience.run(read).await?;
        output.item.as_ref().map(of_item).transpose()
    }

    /// Stores the ad if the stored version is `expected` (`None`: if there is none).
    pub(super) async fn put(
        &self,
        ad: &Ad,
        expected: Option<u64>,
        patience: Patience,
    ) -> PortResult<Changed> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(ad)));
        let put = match expected {
            None => put.condition_expression("attribute_not_exists(ad_id)"),
            Some(expected) => put
                .condition_expression("version = :expected")
                .expression_attribute_values(":expected", n(expected)),
        };
        conditional::put(put, patience).await
    }

    /// Raises the fan-out from `from` to `to`, unless it is another by now.
    pub(super) async fn raise_fan_out(
        &self,
        ad_id: AdId,
        from: u32,
        to: u32,
        patience: Patience,
    ) -> PortResult<bool> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("ad_id", n(ad_id))
            .update_expression("SET fan_out = :to")
            .condition_expression("fan_out = :from")
            .expression_attribute_values(":from", n(from))
            .expression_attribute_values(":to", n(to));
        patience
            .run_once(|| conditional::try_update(update.clone()))
            .await
    }

    /// Ads after `after` in the order of their ids, at most `limit`, by the index that fits the filter.
    pub(super) async fn list(
        &self,
        filter: AdFilter,
        after: Option<AdId>,
        limit: usize,
        patience: Patience,
    ) -> PortResult<Vec<Ad>> {
        let (index, name, value) = match (filter.campaign_id, filter.advertiser_id) {
            (Some(campaign_id), _) => ("by_campaign", "campaign_id", n(campaign_id)),
            (None, Some(advertiser_id)) => ("by_advertiser", "advertiser_id", n(advertiser_id)),
            (None, None) => ("listing", "listed", s(LISTED)),
        };
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression("#of = :of AND ad_id > :after")
            .expression_attribute_names("#of", name)
            .expression_attribute_values(":of", value)
            .expression_attribute_values(":after", n(after.map_or(0, |id| id.0)));
        if let (Some(_), Some(advertiser_id)) = (filter.campaign_id, filter.advertiser_id) {
            query = query
                .filter_expression("advertiser_id = :advertiser")
                .expression_attribute_values(":advertiser", n(advertiser_id));
        }
        let items = pages::items(query, Some(limit), patience).await?;
        items.iter().map(of_item).collect()
    }
}

impl AdsTable {
    /// Campaign and advertiser of every ad (of one advertiser), in the order of ads. There is no table of either: they are
    /// read out of an index, which costs what its ads are worth, so this is for lists that people choose from.
    pub(super) async fn owners(
        &self,
        advertiser_id: Option<AdvertiserId>,
        patience: Patience,
    ) -> PortResult<Vec<(CampaignId, AdvertiserId)>> {
        let (index, name, value) = match advertiser_id {
            Some(advertiser_id) => ("by_advertiser", "advertiser_id", n(advertiser_id)),
            None => ("listing", "listed", s(LISTED)),
        };
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression("#of = :of")
            .projection_expression("campaign_id, advertiser_id")
            .expression_attribute_names("#of", name)
            .expression_attribute_values(":of", value);
        let items = pages::items(query, None, patience).await?;
        let owners = |item: &Item| -> PortResult<(CampaignId, AdvertiserId)> {
            let campaign_id = CampaignId(number(item, "campaign_id")?);
            Ok((campaign_id, AdvertiserId(number(item, "advertiser_id")?)))
        };
        items.iter().map(owners).collect()
    }
}

/// Every ad, in no order: what the snapshot is made of.
pub(crate) async fn all(client: &Client, table: &str, patience: Patience) -> PortResult<Vec<Ad>> {
    let (mut ads, mut from) = (Vec::new(), None);
    loop {
        let scan = client
            .scan()
            .table_name(table)
            .set_exclusive_start_key(from.take());
        let read = || async { scan.clone().send().await.map_err(failure::of_sdk) };
        let output = patience.run(read).await?;
        for item in output.items() {
            ads.push(of_item(item)?);
        }
        from = output.last_evaluated_key;
        if from.is_none() {
            return Ok(ads);
        }
    }
}
