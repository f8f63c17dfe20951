//! `GET /v1/operations`: how the whole stands at this moment; for administrators.
//!
//! Invariant: a figure that this deployment cannot tell is null, never zero.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::LocalTime;
use clickledger_core::service::operations::{OperationsService, Standing};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Administrator, Api};
use crate::config::EdgeConfig;
use crate::params::NoParams;
use crate::problem::{Problem, ProblemDocument};

type Operations = Api<OperationsService>;

/// How the whole stands.
pub fn operations_router(
    operations: OperationsService,
    keys: Arc<KeysService>,
    config: Arc<EdgeConfig>,
) -> OpenApiRouter {
    routes().with_state(Api {
        of: operations,
        keys,
        config,
    })
}

fn routes() -> OpenApiRouter<Operations> {
    OpenApiRouter::new().routes(routes!(standing))
}

/// What the routes say about themselves.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// How the whole stands. Null is what this deployment cannot tell.
#[derive(Serialize, ToSchema)]
pub(crate) struct OperationsView {
    /// When it was looked at: at most five seconds ago.
    #[schema(value_type = String, format = DateTime)]
    as_of: LocalTime,
    /// Over the last five full minutes, whatever the verdict.
    clicks_per_second: f64,
    /// From click to count, over the last five minutes; null also where nothing was counted.
    count_delay_ms: Option<DelayView>,
    spill: SpillView,
    /// Records and counts that were put away as impossible; at 10,000 there may be more.
    quarantined_24h: u64,
    /// Clicks whose record only the last resort took.
    last_resort_24h: Option<u64>,
    sealing: SealingView,
}

/// How long clicks wait to be counted, milliseconds.
#[derive(Serialize, ToSchema)]
pub(crate) struct DelayView {
    p50: u64,
    p99: u64,
}

/// What waits to be put on the stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct SpillView {
    waiting: u64,
    /// How long ago the oldest was clicked, on AWS put there; null also where nothing waits.
    oldest_ms: Option<i64>,
}

/// How sealing stands, over the last 14 days.
#[derive(Serialize, ToSchema)]
pub(crate) struct SealingView {
    /// Every hour before it is sealed; null: none is.
    #[schema(value_type = Option<String>, format = DateTime)]
    sealed_until: Option<LocalTime>,
    /// How long ago that is.
    age_seconds: Option<i64>,
    disputed_hours: u64,
    /// By how much the live counts of hours that were sealed in the last 24 hours were off; null: none was sealed.
    #[schema(required = true)]
    drift_clicks_24h: Option<u64>,
}

impl From<Standing> for OperationsView {
    fn from(standing: Standing) -> Self {
        let (as_of_ms, sealing) = (standing.as_of_ms, standing.sealing);
        let delay = standing.count_delay_ms;
        Self {
            as_of: LocalTime::utc(as_of_ms),
            clicks_per_second: standing.clicks_per_second,
            count_delay_ms: delay.map(|delay| DelayView {
                p50: delay.p50,
                p99: delay.p99,
            }),
            spill: SpillView {
                waiting: standing.spill.waiting,
                oldest_ms: standing.spill.oldest_ms.map(|oldest_ms| as_of_ms - oldest_ms),
            },
            quarantined_24h: standing.quarantined_24h,
            last_resort_24h: standing.last_resort_24h,
            sealing: SealingView {
                sealed_until: sealing.sealed_until_ms.map(LocalTime::utc),
                age_seconds: sealing
                    .sealed_until_ms
                    .map(|until_ms| (as_of_ms - until_ms) / 1_000),
                disputed_hours: sealing.disputed_hours,
                drift_clicks_24h: sealing.drift_clicks_24h,
            },
        }
    }
}

/// How the whole stands at this moment.
#[utoipa::path(get, path = "/v1/operations", tag = "operations", operation_id = "get_operations", security(("key" = [])), responses(
    (status = 200, body = OperationsView, description = "How it stands"),
    (status = "4XX", body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Refused"),
))]
async fn standing(
    _: Administrator,
    _: NoParams,
    State(api): State<Operations>,
) -> Result<Json<OperationsView>, Problem> {
    Ok(Json(api.of.standing().await?.into()))
}
