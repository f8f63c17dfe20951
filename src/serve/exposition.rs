//! `GET /metrics`: the process's own counters as Prometheus reads them; for administrators.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clickledger_core::domain::api_key::Scope;
use clickledger_core::service::keys::KeysService;
use clickledger_http::{Kind, Problem};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Takes up everything that is counted from now on.
pub(super) fn install() -> Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .install_recorder()
        .context("installing the recorder of metrics")
}

/// The route.
pub(super) fn route(recorder: PrometheusHandle, keys: Arc<KeysService>) -> Router {
    Router::new()
        .route("/metrics", get(render))
        .with_state((recorder, keys))
}

async fn render(
    State((recorder, keys)): State<(PrometheusHandle, Arc<KeysService>)>,
    headers: HeaderMap,
) -> Response {
    let key = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    match keys.authenticate(key).await {
        Ok(Some(key)) if key.scope == Scope::Admin => {
            let text = (header::CONTENT_TYPE, "text/plain; version=0.0.4");
            ([text], recorder.render()).into_response()
        }
        Ok(Some(_)) => {
            Problem::new(Kind::Forbidden, "only an administrator's key opens this").into_response()
        }
        Ok(None) => Problem::new(Kind::Unauthorized, "an administrator's key is needed").into_response(),
        Err(_) => Problem::new(Kind::Unavailable, "the keys cannot be read").into_response(),
    }
}
