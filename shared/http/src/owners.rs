//! `/v1/advertisers` and `/v1/campaigns`: who has ads, for people to choose from.
//!
//! Invariant: an advertiser's key finds itself and its own campaigns only; another's look as if they did not exist.

use axum::Json;
use axum::extract::{RawQuery, State};
use clickledger_core::domain::ids::{AdvertiserId, CampaignId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ads::Ads;
use crate::auth::Caller;
use crate::params::{ListParams, Params, page};
use crate::problem::{Problem, ProblemDocument};

pub(crate) fn routes() -> OpenApiRouter<Ads> {
    OpenApiRouter::new()
        .routes(routes!(advertisers))
        .routes(routes!(campaigns))
}

/// An advertiser that has ads.
#[derive(Serialize, ToSchema)]
pub(crate) struct AdvertiserView {
    #[schema(value_type = String, example = "9")]
    advertiser_id: AdvertiserId,
    /// How many, archived ones too.
    ads: u64,
}

/// A page of advertisers.
#[derive(Serialize, ToSchema)]
pub(crate) struct AdvertiserList {
    items: Vec<AdvertiserView>,
    /// The next page's `cursor`; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A campaign that has ads.
#[derive(Serialize, ToSchema)]
pub(crate) struct CampaignView {
    #[schema(value_type = String, example = "12")]
    campaign_id: CampaignId,
    #[schema(value_type = String, example = "9")]
    advertiser_id: AdvertiserId,
    /// How many, archived ones too.
    ads: u64,
}

/// A page of campaigns.
#[derive(Serialize, ToSchema)]
pub(crate) struct CampaignList {
    items: Vec<CampaignView>,
    /// The next page's `cursor`; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// The advertisers that have ads and that the key may see, in the order of their ids.
#[utoipa::path(get, path = "/v1/advertisers", tag = "ads", operation_id = "list_advertisers", security(("key" = [])),
    params(ListParams),
    responses(
        (status = 200, body = AdvertiserList, description = "A page"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
    ))]
async fn advertisers(
    caller: Caller,
    State(api): State<Ads>,
    RawQuery(query): RawQuery,
) -> Result<Json<AdvertiserList>, Problem> {
    caller.must_not_be_publisher("a publisher's key sees no advertisers")?;
    let mut params = Params::new(query.as_deref(), &["limit", "cursor"]);
    let (limit, after) = (params.list_rows(), params.list_cursor());
    params.finish()?;
    let found = api.of.advertisers(caller.scope(), after, limit + 1).await?;
    let (found, next_cursor) = page(found, limit, |found| found.advertiser_id.to_string());
    let items = found.iter().map(|found| AdvertiserView {
        advertiser_id: found.advertiser_id,
        ads: found.ads,
    });
    Ok(Json(AdvertiserList {
        items: items.collect(),
        next_cursor,
    }))
}

/// The campaigns that have ads and that the key may see, in the order of their ids.
#[utoipa::path(get, path = "/v1/campaigns", tag = "ads", operation_id = "list_campaigns", security(("key" = [])),
    params(("advertiser_id" = Option<String>, Query, description = "Only this advertiser's"), ListParams),
    responses(
        (status = 200, body = CampaignList, description = "A page"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
    ))]
async fn campaigns(
    caller: Caller,
    State(api): State<Ads>,
    RawQuery(query): RawQuery,
) -> Result<Json<CampaignList>, Problem> {
    caller.must_not_be_publisher("a publisher's key sees no campaigns")?;
    let mut params = Params::new(query.as_deref(), &["advertiser_id", "limit", "cursor"]);
    let asked = params.read("advertiser_id");
    let (limit, after) = (params.list_rows(), params.list_cursor());
    params.finish()?;
    let found = api.of.campaigns(caller.scope(), asked, after, limit + 1).await?;
    let (found, next_cursor) = page(found, limit, |found| found.campaign_id.to_string());
    let items = found.iter().map(|found| CampaignView {
        campaign_id: found.campaign_id,
        advertiser_id: found.advertiser_id,
        ads: found.ads,
    });
    Ok(Json(CampaignList {
        items: items.collect(),
        next_cursor,
    }))
}
