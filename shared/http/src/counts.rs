//! `/v1/…/metrics`: an entity's clicks, as JSON or CSV.
//!
//! Invariant: whose counts a key may see is decided before they are read, and another tenant's entity looks as one that does not
//! exist.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::ports::{AdFilter, Clock};
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::MetricsService;
use clickledger_core::service::placements::PlacementsService;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Api, Caller};
use crate::config::EdgeConfig;
use crate::counts_batch;
use crate::counts_schema::{MetricsDocument, MetricsParams};
use crate::params::PathId;
use crate::problem::{Kind, Problem, ProblemDocument};

#[derive(Clone)]
pub(crate) struct Counts {
    pub(crate) metrics: MetricsService,
    ads: Arc<AdsService>,
    placements: Arc<PlacementsService>,
    pub(crate) clock: Arc<dyn Clock>,
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
        .routes(routes!(counts_batch::query_metrics))
}

/// What the routes say about themselves.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// An ad's clicks.
#[utoipa::path(get, path = "/v1/ads/{ad_id}/metrics", tag = "metrics", operation_id = "ad_metrics", security(("key" = [])),
    params(("ad_id" = String, Path), MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv")), headers(
            ("ETag" = String, description = "Of sealed counts: changes when an hour of them is sealed anew"),
            ("Clickledger-Next-Cursor" = String, description = "Of a page of CSV that is not the last: the next one's `cursor`"),
        )),
        (status = 304, description = "`If-None-Match` names what would be answered"),
        (status = 404, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Not there, or another's"),
        (status = 422, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Too long a range, or too many ads"),
    ))]
async fn of_ad(
    caller: Caller,
    State(api): State<Api<Counts>>,
    PathId(id): PathId<AdId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.of
        .serve(&caller, Entity::Ad(id), query.as_deref(), &headers)
        .await
}

/// A campaign's clicks.
#[utoipa::path(get, path = "/v1/campaigns/{campaign_id}/metrics", tag = "metrics", operation_id = "campaign_metrics", security(("key" = [])),
    params(("campaign_id" = String, Path), MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv")), headers(
            ("ETag" = String, description = "Of sealed counts: changes when an hour of them is sealed anew"),
            ("Clickledger-Next-Cursor" = String, description = "Of a page of CSV that is not the last: the next one's `cursor`"),
        )),
        (status = 304, description = "`If-None-Match` names what would be answered"),
        (status = 404, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Not there, or another's"),
        (status = 422, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Too long a range, or too many ads"),
    ))]
async fn of_campaign(
    caller: Caller,
    State(api): State<Api<Counts>>,
    PathId(id): PathId<CampaignId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.of
        .serve(&caller, Entity::Campaign(id), query.as_deref(), &headers)
        .await
}

/// An advertiser's clicks.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser_id}/metrics", tag = "metrics", operation_id = "advertiser_metrics", security(("key" = [])),
    params(("advertiser_id" = String, Path), MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv")), headers(
            ("ETag" = String, description = "Of sealed counts: changes when an hour of them is sealed anew"),
            ("Clickledger-Next-Cursor" = String, description = "Of a page of CSV that is not the last: the next one's `cursor`"),
        )),
        (status = 304, description = "`If-None-Match` names what would be answered"),
        (status = 404, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Not there, or another's"),
        (status = 422, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Too long a range, or too many ads or placements"),
    ))]
async fn of_advertiser(
    caller: Caller,
    State(api): State<Api<Counts>>,
    PathId(id): PathId<AdvertiserId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.of
        .serve(&caller, Entity::Advertiser(id), query.as_deref(), &headers)
        .await
}

/// A placement's clicks; for administrators and its publisher.
#[utoipa::path(get, path = "/v1/placements/{placement_id}/metrics", tag = "metrics", operation_id = "placement_metrics", security(("key" = [])),
    params(("placement_id" = String, Path, description = "The id, not the slot's name"), MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv")), headers(
            ("ETag" = String, description = "Of sealed counts: changes when an hour of them is sealed anew"),
            ("Clickledger-Next-Cursor" = String, description = "Of a page of CSV that is not the last: the next one's `cursor`"),
        )),
        (status = 304, description = "`If-None-Match` names what would be answered"),
        (status = 404, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Not there, or another's"),
        (status = 422, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Too long a range, or too many ads"),
    ))]
async fn of_placement(
    caller: Caller,
    State(api): State<Api<Counts>>,
    PathId(id): PathId<PlacementId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.of
        .serve(&caller, Entity::Placement(id), query.as_deref(), &headers)
        .await
}

/// All clicks; for administrators.
#[utoipa::path(get, path = "/v1/metrics/total", tag = "metrics", operation_id = "total_metrics", security(("key" = [])),
    params(MetricsParams),
    responses(
        (status = 200, description = "A page of rows", content((MetricsDocument = "application/json"), (String = "text/csv")), headers(
            ("ETag" = String, description = "Of sealed counts: changes when an hour of them is sealed anew"),
            ("Clickledger-Next-Cursor" = String, description = "Of a page of CSV that is not the last: the next one's `cursor`"),
        )),
        (status = 304, description = "`If-None-Match` names what would be answered"),
        (status = 422, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Too long a range"),
    ))]
async fn of_all(
    caller: Caller,
    State(api): State<Api<Counts>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.of
        .serve(&caller, Entity::Total, query.as_deref(), &headers)
        .await
}

impl Counts {
    async fn serve(
        &self,
        caller: &Caller,
        entity: Entity,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        may_ask_for(caller.scope(), entity)?;
        let asked = self.understand(query, headers)?;
        self.must_own(caller.scope(), entity).await?;
        let query = self.question(&asked, entity).await?;
        self.answer(&query, &asked, headers).await
    }

    /// Refuses what the key may not see, as if it did not exist.
    pub(crate) async fn must_own(&self, scope: &Scope, entity: Entity) -> Result<(), Problem> {
        let owned = match (entity, scope) {
            (Entity::Ad(ad_id), _) => self.ads.get(scope, ad_id).await?.is_some(),
            (Entity::Campaign(campaign_id), _) => {
                match (self.ads.campaign_owner(campaign_id).await?, scope) {
                    (Some(owner), Scope::Advertiser { advertiser_id, .. }) => owner == *advertiser_id,
                    (owner, _) => owner.is_some(),
                }
            }
            (Entity::Advertiser(asked), Scope::Advertiser { advertiser_id, .. }) => asked == *advertiser_id,
            (Entity::Placement(asked), Scope::Publisher { placement_ids })
                if !placement_ids.contains(&asked) =>
            {
                false
            }
            (Entity::Placement(asked), _) => self.placements.by_id(asked).await?.is_some(),
            (Entity::Advertiser(_) | Entity::Total, _) => true,
            // A breakdown's members are nobody's to ask for.
            (Entity::AdvertiserPlacement(..), _) => false,
        };
        if owned { Ok(()) } else { Err(Problem::not_found()) }
    }

    /// The ads of a campaign or an advertiser: one more than may be told apart, where there are more.
    pub(crate) async fn ads_of(&self, entity: Entity) -> Result<Vec<AdId>, Problem> {
        let mut filter = AdFilter::default();
        match entity {
            Entity::Campaign(id) => filter.campaign_id = Some(id),
            Entity::Advertiser(id) => filter.advertiser_id = Some(id),
            Entity::Ad(_) | Entity::Placement(_) | Entity::Total | Entity::AdvertiserPlacement(..) => {
                return Ok(Vec::new());
            }
        }
        Ok(self.ads.ids(filter, self.metrics.max_ads() + 1).await?)
    }
}

/// Refuses a kind of entity to a kind of key.
pub(crate) fn may_ask_for(scope: &Scope, entity: Entity) -> Result<(), Problem> {
    let why = match (scope, entity) {
        (Scope::Admin, _) | (Scope::Publisher { .. }, Entity::Placement(_)) => return Ok(()),
        (_, Entity::Total) => "this is for administrators",
        (Scope::Publisher { .. }, _) => "a publisher's key sees the counts of its placements only",
        (Scope::Advertiser { .. }, Entity::Placement(_)) => {
            "the counts of placements are for publishers and administrators"
        }
        (Scope::Advertiser { .. }, _) => return Ok(()),
    };
    Err(Problem::new(Kind::Forbidden, why))
}
