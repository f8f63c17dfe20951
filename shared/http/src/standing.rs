//! What an answer tells about the caller's share of requests: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10), and `Vary`, since it depends on who asks.
//!
//! Invariant: whatever becomes of a request, its answer tells the share that it was taken from.

use std::sync::{Arc, OnceLock};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use clickledger_core::service::rate_limit::{Standing, WINDOW_S};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Where a handler leaves the caller's standing for the answer.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<OnceLock<Standing>>);

/// Leaves the standing, to be told with the answer.
pub(crate) fn tell(request: &Parts, standing: Standing) {
    if let Some(told) = request.extensions.get::<Told>() {
        // Once is enough: a request is one request.
        let _ = told.0.set(standing);
    }
}

impl Told {
    /// Writes what was left.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Some(standing) = self.0.get() else {
            return;
        };
        let Standing {
            quota,
            remaining,
            reset_s,
        } = standing;
        let policy = format!("\"key\";q={quota};w={WINDOW_S}");
        let limit = format!("\"key\";r={remaining};t={reset_s}");
        for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
            // Digits and quotes only: it always is a header's value.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        headers.append(header::VARY, HeaderValue::from_static("authorization, cookie"));
    }
}
