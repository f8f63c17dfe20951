//! The API's own description, made from the handlers' annotations.

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

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
        (name = "keys", description = "Administrators only"),
        (name = "health"),
    )
)]
struct Document;

/// An empty router with the document's head.
pub(crate) fn document_router() -> OpenApiRouter {
    let mut document = Document::openapi();
    let bearer = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("clk_<key_id>_<secret>")
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("key", SecurityScheme::Http(bearer));
    OpenApiRouter::with_openapi(document)
}

/// The router, which now also serves its description at `/v1/openapi.json`.
pub(crate) fn with_document(api: OpenApiRouter) -> OpenApiRouter {
    // A value of strings, numbers and lists: it always is JSON.
    let document = Bytes::from(api.get_openapi().to_json().unwrap_or_default());
    let serve = move || async move {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], document).into_response()
    };
    api.route("/v1/openapi.json", axum::routing::get(serve))
}
