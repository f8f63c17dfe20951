//! `/v1/placements`: which ads fill a slot, and the ad that is shown in it now, with its signed impression.
//!
//! Invariant: the read is open and tells nothing but the ad that it shows.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clickledger_core::domain::ad::{Placement, SlotEntry};
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::ids::{AdId, PlacementId, SlotName};
use clickledger_core::metric_names as names;
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::impressions::{ImpressionsService, Shown};
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::LocalTime;
use clickledger_core::service::placements::PlacementsService;
use metrics::{Counter, counter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accept::preferred;
use crate::ads::ads_router;
use crate::auth::{Administrator, Api, Caller};
use crate::config::EdgeConfig;
use crate::fragment::fragment;
use crate::params::{ListParams, NoParams, Params, PathId, page};
use crate::problem::{Kind, Problem, ProblemDocument};
use crate::request_body::{JsonBody, Object};
use crate::version::{etag, expected};

const ANY_ORIGIN: (HeaderName, HeaderValue) =
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));

#[derive(Clone)]
struct Slots {
    placements: Arc<PlacementsService>,
    impressions: Arc<ImpressionsService>,
    issued: Counter,
}

/// Ads, placements and impressions.
pub fn placement_router(
    ads: Arc<AdsService>,
    placements: Arc<PlacementsService>,
    impressions: Arc<ImpressionsService>,
    keys: Arc<KeysService>,
    config: Arc<EdgeConfig>,
) -> OpenApiRouter {
    let slots = Slots {
        placements,
        impressions,
        issued: counter!(names::IMPRESSIONS),
    };
    routes()
        .with_state(Api {
            of: slots,
            keys: Arc::clone(&keys),
            config: Arc::clone(&config),
        })
        .merge(ads_router(ads, keys, config))
}

fn routes() -> OpenApiRouter<Api<Slots>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, put, preflight))
        .routes(routes!(entries))
}

/// What the routes of placements say about themselves.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// One ad of a slot.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryBody {
    #[schema(value_type = String, example = "731")]
    ad_id: AdId,
    /// Its share among the slot's active ads is weight / sum of weights; 1 to 1,000,000, 1 if nothing is said.
    #[serde(default = "one")]
    #[schema(example = 3)]
    weight: u32,
}

fn one() -> u32 {
    1
}

/// What a placement is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlacementBody {
    /// The ads that may fill the slot, at most 50.
    #[schema(value_type = Vec<EntryBody>)]
    entries: Vec<Object<EntryBody>>,
    /// The publisher's page, for people; at most 200 characters.
    site: Option<String>,
}

/// A placement as it is set up.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlacementView {
    #[schema(value_type = String, example = "home-top")]
    slot: SlotName,
    #[schema(value_type = String, example = "5")]
    placement_id: PlacementId,
    /// For administrators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    entries: Option<Vec<EntryBody>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    site: Option<String>,
    /// Also the ETag.
    version: u64,
}

impl PlacementView {
    /// What a publisher sees of its own: not what its slots are sold for.
    fn of_publisher(placement: &Placement) -> Self {
        Self {
            entries: None,
            ..Self::from(placement)
        }
    }
}

impl From<&Placement> for PlacementView {
    fn from(placement: &Placement) -> Self {
        let entry = |entry: &SlotEntry| EntryBody {
            ad_id: entry.ad_id,
            weight: entry.weight,
        };
        Self {
            slot: placement.slot.clone(),
            placement_id: placement.placement_id,
            entries: Some(placement.entries.iter().map(entry).collect()),
            site: placement.site.clone(),
            version: placement.version,
        }
    }
}

/// A page of placements.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlacementList {
    items: Vec<PlacementView>,
    /// The next page's `cursor`; null on the last one.
    next_cursor: Option<String>,
}

/// The ad that is shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownAd<'a> {
    #[schema(value_type = String, example = "home-top")]
    slot: &'a SlotName,
    #[schema(value_type = String, example = "5")]
    placement_id: PlacementId,
    #[schema(value_type = String, example = "731")]
    ad_id: AdId,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    image_url: Option<&'a str>,
    /// What the click has to bring; good for one valid click.
    #[schema(value_type = String)]
    impression_token: &'a str,
    /// Where the ad's link leads, relative to the address of this answer.
    #[schema(example = "../../click?adId=731&imp=AQ…")]
    click_url: String,
    /// When the token runs out.
    #[schema(value_type = String, format = DateTime)]
    expires_at: LocalTime,
}

/// The placements that the key may see, in the order of their slots: a publisher's are its own.
#[utoipa::path(get, path = "/v1/placements", tag = "placements", operation_id = "list_placements", security(("key" = [])),
    params(ListParams),
    responses(
        (status = 200, body = PlacementList, description = "A page"),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
    ))]
async fn list(
    caller: Caller,
    State(api): State<Api<Slots>>,
    RawQuery(query): RawQuery,
) -> Result<Json<PlacementList>, Problem> {
    if let Scope::Advertiser { .. } = caller.scope() {
        let why = "placements are for publishers and administrators";
        return Err(Problem::new(Kind::Forbidden, why));
    }
    let mut params = Params::new(query.as_deref(), &["limit", "cursor"]);
    let (limit, after) = (params.list_rows(), params.list_cursor::<SlotName>());
    params.finish()?;
    let (found, view): (_, fn(&Placement) -> PlacementView) = match caller.scope() {
        Scope::Publisher { placement_ids } => {
            let own = api.of.placements.of_ids(placement_ids, after.as_ref(), limit + 1);
            (own.await?, PlacementView::of_publisher)
        }
        Scope::Admin | Scope::Advertiser { .. } => {
            let all = api.of.placements.list(after.as_ref(), limit + 1);
            (all.await?, |placement| PlacementView::from(placement))
        }
    };
    let (placements, next_cursor) = page(found, limit, |placement| placement.slot.to_string());
    Ok(Json(PlacementList {
        items: placements.iter().map(view).collect(),
        next_cursor,
    }))
}

/// An ad for the slot, with its signed impression; as JSON, or as an HTML fragment where that is preferred.
#[utoipa::path(get, path = "/v1/placements/{slot}", tag = "placements", operation_id = "show_placement",
    params(("slot" = String, Path, pattern = "^[a-z0-9-]{1,64}$")),
    responses(
        (status = 200, description = "An ad, chosen by weight among the slot's active ones", content(
            (ShownAd<'static> = "application/json"),
            (String = "text/html", example = "<a href=\"../../click?adId=731&amp;imp=…\" target=\"_blank\" rel=\"sponsored noopener\">…</a>"),
        )),
        (status = 400, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "No slot has such a name"),
        (status = 404, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "No such slot, or no active ad in it"),
    ))]
async fn show(
    State(api): State<Api<Slots>>,
    headers: HeaderMap,
    params: Result<NoParams, Problem>,
    slot: Result<PathId<SlotName>, Problem>,
) -> Result<Response, Problem> {
    let (origin, any) = ANY_ORIGIN;
    api.of
        .show(&headers, params, slot)
        .await
        .map_err(|problem| problem.with_header(origin, any))
}

impl Slots {
    async fn show(
        &self,
        headers: &HeaderMap,
        params: Result<NoParams, Problem>,
        slot: Result<PathId<SlotName>, Problem>,
    ) -> Result<Response, Problem> {
        params?;
        let PathId(slot) = slot?;
        let Some(shown) = self.impressions.show(&slot).await? else {
            return Err(Problem::new(
                Kind::NotFound,
                "there is no such slot, or no active ad in it",
            ));
        };
        self.issued.increment(1);
        // This answer is at v1/placements/<slot>, and the click two steps up.
        let click_url = format!("../../click?adId={}&imp={}", shown.ad.ad_id, shown.token);
        let mut response = match preferred(headers, &["application/json", "text/html"]) {
            0 => Json(shown_ad(&shown, click_url)).into_response(),
            _ => fragment(&shown.ad, &click_url),
        };
        let headers = response.headers_mut();
        let (origin, any) = ANY_ORIGIN;
        headers.insert(origin, any);
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

fn shown_ad(shown: &Shown, click_url: String) -> ShownAd<'_> {
    ShownAd {
        slot: &shown.placement.slot,
        placement_id: shown.placement.placement_id,
        ad_id: shown.ad.ad_id,
        title: shown.ad.title.as_deref(),
        image_url: shown.ad.image_url.as_ref().map(|url| url.as_str()),
        impression_token: &shown.token,
        click_url,
        expires_at: LocalTime::utc(shown.expires_at_ms),
    }
}

/// What may be asked of a slot from other pages.
#[utoipa::path(options, path = "/v1/placements/{slot}", tag = "placements", operation_id = "placement_methods", params(("slot" = String, Path)),
    responses((status = 204, description = "The methods")))]
async fn preflight() -> impl IntoResponse {
    (
        StatusCode::NO_CONTENT,
        [
            (header::ALLOW, HeaderValue::from_static("GET,HEAD,PUT,OPTIONS")),
            ANY_ORIGIN,
            (
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET"),
            ),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
        ],
    )
}

/// Makes a placement, or replaces what it holds.
#[utoipa::path(put, path = "/v1/placements/{slot}", tag = "placements", operation_id = "put_placement", security(("key" = [])),
    params(
        ("slot" = String, Path, description = "`[a-z0-9-]{1,64}`"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the version that is meant"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none"),
    ),
    request_body = PlacementBody,
    responses(
        (status = 200, body = PlacementView, description = "Replaced", headers(("ETag" = String))),
        (status = 201, body = PlacementView, description = "Made", headers(("ETag" = String))),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Not changed"),
    ))]
async fn put(
    _: Administrator,
    _: NoParams,
    State(api): State<Api<Slots>>,
    PathId(slot): PathId<SlotName>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<PlacementBody>,
) -> Result<Response, Problem> {
    let stored = api
        .of
        .placements
        .get(&slot)
        .await?
        .map(|placement| placement.version);
    let expect = expected(&headers, stored)?;
    let entries: Vec<SlotEntry> = body
        .entries
        .iter()
        .map(|Object(entry)| SlotEntry {
            ad_id: entry.ad_id,
            weight: entry.weight,
        })
        .collect();
    let (placement, new) = api
        .of
        .placements
        .put(&Scope::Admin, &slot, &entries, body.site, expect)
        .await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((
        status,
        [etag(placement.version)],
        Json(PlacementView::from(&placement)),
    )
        .into_response())
}

/// A placement as it is set up.
#[utoipa::path(get, path = "/v1/placements/{slot}/entries", tag = "placements", operation_id = "get_placement", security(("key" = [])),
    params(("slot" = String, Path, pattern = "^[a-z0-9-]{1,64}$")),
    responses(
        (status = 200, body = PlacementView, description = "The placement", headers(("ETag" = String))),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
    ))]
async fn entries(
    _: Administrator,
    _: NoParams,
    State(api): State<Api<Slots>>,
    PathId(slot): PathId<SlotName>,
) -> Result<Response, Problem> {
    let placement = api
        .of
        .placements
        .get(&slot)
        .await?
        .ok_or_else(Problem::not_found)?;
    Ok(([etag(placement.version)], Json(PlacementView::from(&*placement))).into_response())
}
