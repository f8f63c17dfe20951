//! What stands around every handler: limits, panics, problem documents where no handler answers, headers of every answer.
//!
//! Invariant: whatever comes in, the process lives, and the log holds method, route and status, never a query, an address or a
//! user agent.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use utoipa_axum::router::OpenApiRouter;

use crate::config::{EdgeConfig, Limits};
use crate::problem::{Kind, Problem, request_id};
use crate::standing::Told;

/// Makes a part a whole: whatever no route takes is answered with a problem document, and limits and panics are seen to.
pub fn edge(part: OpenApiRouter, config: &EdgeConfig) -> Router {
    let (router, _) = part.split_for_parts();
    router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn_with_state(config.limits, guard))
}

async fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "there is no such resource")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        "the header Allow names the methods of this resource",
    )
}

async fn guard(State(limits): State<Limits>, mut request: Request, next: Next) -> Response {
    if let Err(problem) = check(&limits, &request) {
        return with_headers(problem.into_response());
    }
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = || route.as_ref().map_or("", MatchedPath::as_str);
    let told = Told::default();
    request.extensions_mut().insert(told.clone());
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            // The panic's own text goes where the process's panics go; it may quote the request, so not into our log.
            let request_id = request_id();
            tracing::error!(%method, route = route(), request_id, "a handler panicked");
            Problem::new(Kind::Internal, "this request could not be worked")
                .with_request_id(request_id)
                .into_response()
        }
    };
    told.write(response.headers_mut());
    tracing::debug!(%method, route = route(), status = response.status().as_u16(), "answered");
    with_headers(response)
}

fn check(limits: &Limits, request: &Request) -> Result<(), Problem> {
    let uri = request.uri();
    let uri_bytes = uri.path_and_query().map_or(0, |text| text.as_str().len());
    if uri_bytes > limits.uri_bytes {
        let detail = format!("path and query may have {} bytes", limits.uri_bytes);
        return Err(Problem::new(Kind::HeadersTooLarge, detail));
    }
    if header_bytes(request.headers()) > limits.header_bytes {
        let detail = format!("the headers may have {} bytes", limits.header_bytes);
        return Err(Problem::new(Kind::HeadersTooLarge, detail));
    }
    Ok(())
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // What a key opens is nobody else's to keep.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
