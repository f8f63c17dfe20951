//! Whether the process lives, and whether it can serve.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{Kind, Problem, ProblemDocument};

/// Whether requests can be served now.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// `Ok`, or why not. The reason is shown to whoever asks: no secrets, no addresses.
    async fn ready(&self) -> Result<(), String>;
}

/// A state in a word.
#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(value_type = String, example = "ok")]
    status: &'static str,
}

/// `GET /healthz` and `GET /readyz`.
pub fn health_router(ready: Arc<dyn Readiness>) -> OpenApiRouter {
    routes().with_state(ready)
}

fn routes() -> OpenApiRouter<Arc<dyn Readiness>> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
}

/// What the routes say about themselves.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Health, description = "It lives")))]
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether requests can be served.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, body = Health, description = "They can"),
    (status = 503, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Not now"),
))]
async fn readyz(State(ready): State<Arc<dyn Readiness>>) -> Result<Json<Health>, Problem> {
    match ready.ready().await {
        Ok(()) => Ok(Json(Health { status: "ready" })),
        Err(reason) => Err(Problem::new(Kind::Unavailable, reason)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))),
    }
}
