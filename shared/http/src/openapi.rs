//! The API's own description, made from the handlers' annotations.
//!
//! Invariant: it is the whole API's, whichever part of it a process serves.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::openapi_complete::complete;
use crate::openapi_page;
use crate::{ads, click, counts, health, keys, placements, reconciliations};

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
        (name = "keys", description = "Administrators only"),
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
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("key", SecurityScheme::Http(bearer));
    for part in [
        click::described(),
        placements::described(),
        ads::described(),
        counts::described(),
        reconciliations::described(),
        keys::described(),
        health::described(),
    ] {
        document.merge(part);
    }
    document
}
