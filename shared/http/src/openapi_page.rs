//! `/v1/docs`: the API's description for people, drawn by Swagger UI out of the binary.
//!
//! Invariant: the page loads what its own origin serves and nothing else.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;

use crate::assets::{Asset, CSS, HTML, ICON, JS, SVG};
use crate::problem::{Kind, Problem};

const PAGE: &str = "";

/// The page and its files; its own name is the empty one.
const FILES: [(&str, &str, &str); 5] = [
    (PAGE, HTML, include_str!("../assets/docs/index.html")),
    ("docs.js", JS, include_str!("../assets/docs/docs.js")),
    ("icon.svg", SVG, ICON),
    (
        "swagger-ui-bundle.js",
        JS,
        include_str!("../assets/swagger-ui/swagger-ui-bundle.js"),
    ),
    (
        "swagger-ui.css",
        CSS,
        include_str!("../assets/swagger-ui/swagger-ui.css"),
    ),
];
/// Swagger UI draws its marks from `data:` addresses.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

struct File {
    name: &'static str,
    etag: HeaderValue,
    asset: Asset,
}

static ALL: LazyLock<Vec<File>> = LazyLock::new(|| {
    let file = |(name, media_type, text): (&'static str, &'static str, &'static str)| {
        let digest: String = Sha256::digest(text)[..12]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        File {
            name,
            etag: HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\"")),
            asset: Asset::new(media_type, text),
        }
    };
    FILES.into_iter().map(file).collect()
});

pub(crate) fn routes() -> OpenApiRouter {
    // Not of the API: they are not in its description.
    OpenApiRouter::new()
        .route("/v1/docs", get(page))
        .route("/v1/docs/{file}", get(file))
}

async fn page(request: HeaderMap) -> Result<Response, Problem> {
    answer(PAGE, &request)
}

async fn file(Path(name): Path<String>, request: HeaderMap) -> Result<Response, Problem> {
    answer(&name, &request)
}

fn answer(name: &str, request: &HeaderMap) -> Result<Response, Problem> {
    let Some(file) = ALL.iter().find(|file| file.name == name) else {
        return Err(Problem::new(Kind::NotFound, "there is no such file"));
    };
    let mut response = file.asset.answer(request, &file.etag, "no-cache");
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, POLICY);
    Ok(response)
}
