//! `/v1/…/metrics`: an entity's clicks by the minute, hour or day, as JSON or CSV.
//!
//! Invariant: whose counts a key may see is decided before they are read, and another tenant's entity looks as one that does not
//! exist.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::ports::Clock;
use clickledger_core::service::ads::{AdsService, FieldError};
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::{
    Granularity, GroupBy, LocalTime, MetricsPage, MetricsQuery, MetricsService, QueryError, write_csv,
};
use clickledger_core::service::placements::PlacementsService;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accept::preferred;
use crate::auth::{Administrator, Api, Caller};
use crate::config::EdgeConfig;
use crate::counts_schema::{MetricsDocument, MetricsParams};
use crate::params::{Params, PathId};
use crate::problem::{Kind, Problem, ProblemDocument};

/// Where a page of CSV, which has no room for it, says how to get the next one.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("clickledger-next-cursor");
/// How far `to` may lie in the future, milliseconds: the minute that is running.
const AHEAD_MS: i64 = 60_000;
const MAX_ROWS: usize = 10_000;
const NOT_FOR_PUBLISHERS: &str = "a publisher's key sees the counts of its placements only";
const KNOWN: [&str; 9] = [
    "from",
    "to",
    "granularity",
    "group_by",
    "tz",
    "window",
    "limit",
    "cursor",
    "format",
];

#[derive(Clone)]
struct Counts {
    metrics: MetricsService,
    ads: Arc<AdsService>,
    placements: Arc<PlacementsService>,
    clock: Arc<dyn Clock>,
}

/// Advertisers' and publishers' metrics. `clock` is asked how far into the future a query reaches.
pub fn query_router(
    metrics: MetricsService,
    ads: Arc<AdsService>,
    placements: Arc<PlacementsService>,
    keys: Arc<KeysService>,
    clock: Arc<dyn Clock>,
    config: Arc<EdgeConfig>,
) -> OpenApiRouter {
    let counts = Counts {
        metrics,
        ads,
        placements,
        clock,
    };
    routes().with_state(Api {
        of: counts,
        keys,
        config,
    })
}

fn routes() -> OpenApiRouter<Api<Counts>> {
    OpenApiRouter::new()
        .routes(routes!(of_ad))
        .routes(routes!(of_campaign))
        .routes(routes!(of_advertiser))
        .routes(routes!(of_placement))
        .routes(routes!(of_all))
}

/// What the routes say about themselves.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// An ad's clicks.
#[utoipa::path(get, path = "/v1/ads/{ad_id}/metrics", tag = "metrics", security(("key" = [])),
    params(("ad_id" = String, Path), MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv"))),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused; 404 also for another's, 422 for too long a range"),
    ))]
async fn of_ad(
    caller: Caller,
    State(api): State<Api<Counts>>,
    PathId(ad_id): PathId<AdId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must_not_be_publisher(NOT_FOR_PUBLISHERS)?;
    let query = api.of.understand(Entity::Ad(ad_id), query.as_deref(), &headers)?;
    if api.of.ads.get(caller.scope(), ad_id).await?.is_none() {
        return Err(Problem::not_found());
    }
    api.of.answer(&query).await
}

/// A campaign's clicks.
#[utoipa::path(get, path = "/v1/campaigns/{campaign_id}/metrics", tag = "metrics", security(("key" = [])),
    params(("campaign_id" = String, Path), MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv"))),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused; 404 also for another's, 422 for too long a range"),
    ))]
async fn of_campaign(
    caller: Caller,
    State(api): State<Api<Counts>>,
    PathId(campaign_id): PathId<CampaignId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must_not_be_publisher(NOT_FOR_PUBLISHERS)?;
    let query = api
        .of
        .understand(Entity::Campaign(campaign_id), query.as_deref(), &headers)?;
    let owner = api.of.ads.campaign_owner(campaign_id).await?;
    match (owner, caller.scope()) {
        (Some(_), Scope::Admin) => {}
        (Some(owner), Scope::Advertiser { advertiser_id, .. }) if owner == *advertiser_id => {}
        _ => return Err(Problem::not_found()),
    }
    api.of.answer(&query).await
}

/// An advertiser's clicks.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser_id}/metrics", tag = "metrics", security(("key" = [])),
    params(("advertiser_id" = String, Path), MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv"))),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused; 404 also for another's, 422 for too long a range"),
    ))]
async fn of_advertiser(
    caller: Caller,
    State(api): State<Api<Counts>>,
    PathId(asked): PathId<AdvertiserId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.must_not_be_publisher(NOT_FOR_PUBLISHERS)?;
    let query = api
        .of
        .understand(Entity::Advertiser(asked), query.as_deref(), &headers)?;
    match caller.scope() {
        Scope::Admin => {}
        Scope::Advertiser { advertiser_id, .. } if *advertiser_id == asked => {}
        _ => return Err(Problem::not_found()),
    }
    api.of.answer(&query).await
}

/// A placement's clicks; for administrators and its publisher.
#[utoipa::path(get, path = "/v1/placements/{placement_id}/metrics", tag = "metrics", security(("key" = [])),
    params(("placement_id" = String, Path, description = "The id, not the slot's name"), MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv"))),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused; 404 also for another's, 422 for too long a range"),
    ))]
async fn of_placement(
    caller: Caller,
    State(api): State<Api<Counts>>,
    PathId(placement_id): PathId<PlacementId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Scope::Advertiser { .. } = caller.scope() {
        return Err(Problem::new(
            Kind::Forbidden,
            "the counts of placements are for publishers and administrators",
        ));
    }
    let query = api
        .of
        .understand(Entity::Placement(placement_id), query.as_deref(), &headers)?;
    match caller.scope() {
        Scope::Publisher { placement_ids } if !placement_ids.contains(&placement_id) => {
            return Err(Problem::not_found());
        }
        _ => {}
    }
    if api.of.placements.by_id(placement_id).await?.is_none() {
        return Err(Problem::not_found());
    }
    api.of.answer(&query).await
}

/// All clicks; for administrators.
#[utoipa::path(get, path = "/v1/metrics/total", tag = "metrics", security(("key" = [])),
    params(MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv"))),
        (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused; 422 for too long a range"),
    ))]
async fn of_all(
    _: Administrator,
    State(api): State<Api<Counts>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = api.of.understand(Entity::Total, query.as_deref(), &headers)?;
    api.of.answer(&query).await
}

/// What is asked, and how it is to be written.
struct Understood {
    query: MetricsQuery,
    csv: bool,
}

impl Counts {
    fn understand(
        &self,
        entity: Entity,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Understood, Problem> {
        let mut params = Params::new(query, &KNOWN);
        let mut time = |name: &'static str| {
            if params.text(name).is_none() {
                params.refuse(name, "is missing".to_owned());
            }
            params.read::<LocalTime>(name)
        };
        let (from, to) = (time("from"), time("to"));
        if to.is_some_and(|to| to.unix_ms > self.clock.now_ms() + AHEAD_MS) {
            params.refuse("to", "must be at most a minute in the future".to_owned());
        }
        let group_by = params.text("group_by").unwrap_or_default().parse::<GroupBy>();
        let csv = match params.text("format") {
            None => preferred(headers, &["application/json", "text/csv"]) == 1,
            Some("json") => false,
            Some("csv") => true,
            Some(_) => {
                params.refuse("format", "must be json or csv".to_owned());
                false
            }
        };
        let query = MetricsQuery {
            entity,
            from_ms: from.map_or(0, |from| from.unix_ms),
            to_ms: to.map_or(0, |to| to.unix_ms),
            granularity: params.read("granularity").unwrap_or(Granularity::Hour),
            group_by: *group_by.as_ref().unwrap_or(&GroupBy::None),
            window: params.read("window"),
            time_zone: params.text("tz").unwrap_or("UTC").to_owned(),
            limit: params.number("limit", 1, MAX_ROWS),
            cursor: params.text("cursor").map(str::to_owned),
        };
        params.finish()?;
        if let Err(unsupported) = group_by {
            return Err(problem(QueryError::UnsupportedBreakdown(unsupported)));
        }
        Ok(Understood { query, csv })
    }

    async fn answer(&self, Understood { query, csv }: &Understood) -> Result<Response, Problem> {
        let page = self.metrics.query(query).await.map_err(problem)?;
        let mut response = if *csv {
            table(&page, query.cursor.is_none())
        } else {
            Json(&page).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        Ok(response)
    }
}

fn table(page: &MetricsPage, first: bool) -> Response {
    let mut csv = String::with_capacity(page.rows.len() * 64 + 256);
    // Writing to a string does not fail.
    let _ = write_csv(page, first, &mut csv);
    let mut response = csv.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8"),
    );
    if let Some(cursor) = page
        .meta
        .next_cursor
        .as_ref()
        .and_then(|cursor| HeaderValue::try_from(cursor).ok())
    {
        headers.insert(NEXT_CURSOR, cursor);
    }
    response
}

fn problem(error: QueryError) -> Problem {
    match error {
        QueryError::InvalidParameters(invalid) => {
            let errors = invalid.into_iter();
            Problem::of(
                Kind::InvalidParameter,
                errors
                    .map(|error| FieldError::new(error.parameter, error.reason))
                    .collect(),
            )
        }
        QueryError::RangeTooLarge { .. } => Problem::new(Kind::RangeTooLarge, error.to_string()),
        QueryError::UnsupportedBreakdown(_) => Problem::new(Kind::UnsupportedBreakdown, error.to_string()),
        QueryError::Store(error) => error.into(),
    }
}
