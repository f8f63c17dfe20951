//! `/v1/ads`: ads made, read, listed, changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clickledger_core::domain::ad::{Ad, AdStatus};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId};
use clickledger_core::ports::AdFilter;
use clickledger_core::service::ads::{AdPatch, AdsService, NewAd};
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::LocalTime;
use clickledger_core::service::placements::Expect;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Api, Caller};
use crate::config::EdgeConfig;
use crate::owners;
use crate::params::{ListParams, NoParams, Params, PathId, page};
use crate::problem::{Kind, Problem, ProblemDocument};
use crate::request_body::{JsonBody, given};
use crate::version::{etag, expected};

pub(crate) type Ads = Api<Arc<AdsService>>;

pub(crate) fn ads_router(
    ads: Arc<AdsService>,
    keys: Arc<KeysService>,
    config: Arc<EdgeConfig>,
) -> OpenApiRouter {
    routes().with_state(Api {
        of: ads,
        keys,
        config,
    })
}

fn routes() -> OpenApiRouter<Ads> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, change))
        .merge(owners::routes())
}

/// What the routes say about themselves.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// An ad to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAdBody {
    /// Whose.
    #[schema(value_type = String, example = "9")]
    advertiser_id: AdvertiserId,
    /// In which campaign of that advertiser; the first ad of an id makes it.
    #[schema(value_type = String, example = "12")]
    campaign_id: CampaignId,
    /// Where a click leads: an absolute http or https URL without credentials, at most 2048 bytes.
    #[schema(example = "https://shop.example/offer")]
    redirect_url: String,
    /// What the anchor says, at most 200 characters.
    title: Option<String>,
    /// What the anchor shows: a URL like `redirect_url`.
    image_url: Option<String>,
    /// `active` if nothing is said.
    #[schema(value_type = Option<String>, example = "active")]
    status: Option<AdStatus>,
    /// Over how many partition keys its clicks are spread: a power of two up to 1024; only administrators say it.
    fan_out: Option<u32>,
}

/// A change of an ad (RFC 7396): fields that are not there stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdPatchBody {
    /// May only repeat what it is.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    advertiser_id: Option<AdvertiserId>,
    /// Another campaign of the same advertiser; the last ad of a campaign stays in it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// Another destination.
    #[serde(default, deserialize_with = "given")]
    redirect_url: Option<String>,
    /// Another title; `null` removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    title: Option<Option<String>>,
    /// Another image; `null` removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    image_url: Option<Option<String>>,
    /// Another status.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    status: Option<AdStatus>,
    /// Another fan-out; only by administrators.
    #[serde(default, deserialize_with = "given")]
    fan_out: Option<u32>,
}

/// An ad.
#[derive(Serialize, ToSchema)]
pub(crate) struct AdView {
    #[schema(value_type = String, example = "731")]
    ad_id: AdId,
    #[schema(value_type = String, example = "12")]
    campaign_id: CampaignId,
    #[schema(value_type = String, example = "9")]
    advertiser_id: AdvertiserId,
    redirect_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    /// `active`, `paused` (not shown; clicks redirect as `inactive_ad`) or `archived` (as paused, and not
    /// listed).
    #[schema(value_type = String, example = "active")]
    status: AdStatus,
    fan_out: u32,
    /// Also the ETag.
    version: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: LocalTime,
}

impl From<&Ad> for AdView {
    fn from(ad: &Ad) -> Self {
        Self {
            ad_id: ad.ad_id,
            campaign_id: ad.campaign_id,
            advertiser_id: ad.advertiser_id,
            redirect_url: ad.redirect_url.to_string(),
            title: ad.title.clone(),
            image_url: ad.image_url.as_ref().map(ToString::to_string),
            status: ad.status,
            fan_out: ad.fan_out,
            version: ad.version,
            created_at: LocalTime::utc(ad.created_ms),
        }
    }
}

/// A page of ads.
#[derive(Serialize, ToSchema)]
pub(crate) struct AdList {
    items: Vec<AdView>,
    /// The next page's `cursor`; null on the last one.
    next_cursor: Option<String>,
}

/// Makes an ad.
#[utoipa::path(post, path = "/v1/ads", tag = "ads", operation_id = "create_ad", security(("key" = [])), request_body = NewAdBody, responses(
    (status = 201, body = AdView, description = "Made", headers(("Location" = String), ("ETag" = String))),
    (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Not made; 422 for a destination that no ad may have"),
))]
async fn create(
    caller: Caller,
    _: NoParams,
    State(api): State<Ads>,
    JsonBody(body): JsonBody<NewAdBody>,
) -> Result<Response, Problem> {
    let new = NewAd {
        advertiser_id: body.advertiser_id,
        campaign_id: body.campaign_id,
        redirect_url: body.redirect_url,
        title: body.title,
        image_url: body.image_url,
        status: body.status,
        fan_out: body.fan_out,
    };
    let ad = api.of.create(caller.scope(), new).await?;
    // Relative to this collection: the API may live under a path prefix.
    let location = HeaderValue::try_from(format!("ads/{}", ad.ad_id))
        .map_err(|_| Problem::new(Kind::Internal, "the ad's address cannot be sent"))?;
    let headers = [(header::LOCATION, location), etag(ad.version)];
    Ok((StatusCode::CREATED, headers, Json(AdView::from(&ad))).into_response())
}

/// The ads that the key may see, in the order of their ids.
#[utoipa::path(get, path = "/v1/ads", tag = "ads", operation_id = "list_ads", security(("key" = [])),
    params(
        ("advertiser_id" = Option<String>, Query, description = "Only this advertiser's"),
        ("campaign_id" = Option<String>, Query, description = "Only this campaign's"),
        ("archived" = Option<bool>, Query, description = "Whether archived ads are listed too"),
        ListParams,
    ),
    responses(
        (status = 200, body = AdList, description = "A page"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
    ))]
async fn list(
    caller: Caller,
    State(api): State<Ads>,
    RawQuery(query): RawQuery,
) -> Result<Json<AdList>, Problem> {
    caller.must_not_be_publisher("a publisher's key sees no ads")?;
    let mut params = Params::new(
        query.as_deref(),
        &["advertiser_id", "campaign_id", "archived", "limit", "cursor"],
    );
    let filter = AdFilter {
        advertiser_id: params.read("advertiser_id"),
        campaign_id: params.read("campaign_id"),
    };
    let archived = params.read("archived").unwrap_or(false);
    let (limit, after) = (params.list_rows(), params.list_cursor());
    params.finish()?;
    let found = api
        .of
        .list(caller.scope(), filter, archived, after, limit + 1)
        .await?;
    let (ads, next_cursor) = page(found, limit, |ad| ad.ad_id.to_string());
    let items = ads.iter().map(AdView::from).collect();
    Ok(Json(AdList { items, next_cursor }))
}

/// An ad.
#[utoipa::path(get, path = "/v1/ads/{ad_id}", tag = "ads", operation_id = "get_ad", security(("key" = [])),
    params(("ad_id" = String, Path)),
    responses(
        (status = 200, body = AdView, description = "The ad", headers(("ETag" = String))),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused; 404 also for another's"),
    ))]
async fn get(
    caller: Caller,
    _: NoParams,
    State(api): State<Ads>,
    PathId(ad_id): PathId<AdId>,
) -> Result<Response, Problem> {
    caller.must_not_be_publisher("a publisher's key sees no ads")?;
    let ad = api
        .of
        .get(caller.scope(), ad_id)
        .await?
        .ok_or_else(Problem::not_found)?;
    Ok(answer(&ad))
}

/// Changes an ad.
#[utoipa::path(patch, path = "/v1/ads/{ad_id}", tag = "ads", operation_id = "change_ad", security(("key" = [])),
    params(
        ("ad_id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag of the version that is meant"),
    ),
    request_body(content = AdPatchBody, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = AdView, description = "As it is now", headers(("ETag" = String))),
        (status = 412, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "It is another version"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Not changed"),
    ))]
async fn change(
    caller: Caller,
    _: NoParams,
    State(api): State<Ads>,
    PathId(ad_id): PathId<AdId>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<AdPatchBody>,
) -> Result<Response, Problem> {
    caller.must_not_be_publisher("a publisher's key changes no ads")?;
    let patch = AdPatch {
        advertiser_id: body.advertiser_id,
        campaign_id: body.campaign_id,
        redirect_url: body.redirect_url,
        title: body.title,
        image_url: body.image_url,
        status: body.status,
        fan_out: body.fan_out,
    };
    let old = api
        .of
        .get(caller.scope(), ad_id)
        .await?
        .ok_or_else(Problem::not_found)?;
    let version = match expected(&headers, Some(old.version))? {
        Expect::Version(version) => Some(version),
        Expect::Any | Expect::Absent => None,
    };
    let ad = api.of.update(caller.scope(), ad_id, &patch, version).await?;
    Ok(answer(&ad))
}

fn answer(ad: &Ad) -> Response {
    ([etag(ad.version)], Json(AdView::from(ad))).into_response()
}
