//! The API's own description, made from the handlers' annotations.
//!
//! Invariant: it is the whole API's, whichever part of it a process serves.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa_axum::router::OpenApiRouter;

use crate::auth::READS_BY_POST;
use crate::openapi_complete::complete;
use crate::openapi_page;
use crate::session::COOKIE;
use crate::{ads, click, counts, health, keys, operations, placements, reconciliations, session};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Clickledger",
        description = "Ad clicks, counted exactly. Errors are problem documents (RFC 9457). Times are RFC 3339, ids are decimal \
                       strings. The address of everything is relative: the API may live under a path prefix."
    ),
    tags(
        (name = "click", description = "What an ad's link leads to; open"),
        (name = "ads"),
        (name = "placements"),
        (name = "metrics"),
        (name = "reconciliations", description = "What sealing found and corrected"),
        (name = "operations", description = "Administrators only"),
        (name = "keys", description = "Administrators only"),
        (name = "session", description = "Signing in to the dashboard: the session's cookie reads what its key may read"),
        (name = "health"),
    )
)]
struct Document;

/// The API's own description at `/v1/openapi.json`: of every route, also of those that another process serves; and a page of it for
/// people at `/v1/docs`.
pub fn document_router() -> OpenApiRouter {
    OpenApiRouter::new()
        .route("/v1/openapi.json", get(serve))
        .merge(openapi_page::routes())
}

/// The API's own description, as JSON for people.
pub fn description() -> String {
    // A value of strings, numbers and lists: it always is JSON.
    serde_json::to_string_pretty(&complete(document())).unwrap_or_default()
}

async fn serve() -> impl IntoResponse {
    // Written once, when it is first asked for: a function that starts need not wait for it.
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| Bytes::from(serde_json::to_vec(&complete(document())).unwrap_or_default()));
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], DOCUMENT.clone())
}

fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let bearer = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("clk_<key_id>_<secret>")
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("key", SecurityScheme::Http(bearer));
    let cookie = ApiKeyValue::new(COOKIE);
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    for part in [
        click::described(),
        placements::described(),
        ads::described(),
        counts::described(),
        reconciliations::described(),
        operations::described(),
        keys::described(),
        session::described(),
        health::described(),
    ] {
        document.merge(part);
    }
    // Where nothing is changed a session does as well as a key.
    for (path, item) in &mut document.paths.paths {
        let posted = item
            .post
            .as_mut()
            .filter(|_| READS_BY_POST.contains(&path.as_str()));
        for reading in item.get.as_mut().into_iter().chain(posted) {
            if let Some(security) = reading.security.as_mut().filter(|_| path.starts_with("/v1/")) {
                security.push(SecurityRequirement::new::<_, _, String>("session", []));
            }
        }
    }
    document
}
