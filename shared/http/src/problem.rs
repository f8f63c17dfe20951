//! Problem documents: how every error is answered (RFC 9457).
//!
//! Invariant: a document tells what the caller did wrong and never what another tenant has, what a store said, or a secret.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clickledger_core::ports::PortError;
use clickledger_core::service::ads::{ChangeError, FieldError};
use serde::Serialize;
use utoipa::ToSchema;

/// The closed list of problem types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400: the path or the query.
    InvalidParameter,
    /// 400: the body.
    InvalidBody,
    /// 400: these counts are not broken down like this.
    UnsupportedBreakdown,
    /// 401: no key, or one that opens nothing.
    Unauthorized,
    /// 403: the key may not do this.
    Forbidden,
    /// 404: nothing there that the caller may see.
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 412: the stored version is another.
    VersionConflict,
    /// 413
    BodyTooLarge,
    /// 415
    UnsupportedMediaType,
    /// 422: the range of time is longer than the granularity allows.
    RangeTooLarge,
    /// 422: no ad may lead there.
    InvalidRedirectUrl,
    /// 429: too often; `Retry-After` says when it may be tried again.
    RateLimited,
    /// 431: path, query or headers are too long.
    HeadersTooLarge,
    /// 500
    Internal,
    /// 503: a store does not answer; try again.
    Unavailable,
}

impl Kind {
    /// The last part of `type`, the title, and the status.
    pub fn describe(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::InvalidParameter => (
                "invalid-parameter",
                "A parameter cannot be accepted",
                StatusCode::BAD_REQUEST,
            ),
            Self::InvalidBody => (
                "invalid-body",
                "The body cannot be accepted",
                StatusCode::BAD_REQUEST,
            ),
            Self::UnsupportedBreakdown => (
                "unsupported-breakdown",
                "Counts are not broken down like this",
                StatusCode::BAD_REQUEST,
            ),
            Self::Unauthorized => (
                "unauthorized",
                "A valid API key is needed",
                StatusCode::UNAUTHORIZED,
            ),
            Self::Forbidden => ("forbidden", "This key may not do that", StatusCode::FORBIDDEN),
            Self::NotFound => ("not-found", "There is nothing here", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                "This method is not for this resource",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::VersionConflict => (
                "version-conflict",
                "The stored version is another",
                StatusCode::PRECONDITION_FAILED,
            ),
            Self::BodyTooLarge => (
                "body-too-large",
                "The body is too large",
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                "The body is of a type that is not read here",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            Self::RangeTooLarge => (
                "range-too-large",
                "The range of time is too long",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::InvalidRedirectUrl => (
                "invalid-redirect-url",
                "No ad may lead there",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::RateLimited => ("rate-limited", "Too many requests", StatusCode::TOO_MANY_REQUESTS),
            Self::HeadersTooLarge => (
                "headers-too-large",
                "The address or the headers are too long",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ),
            Self::Internal => (
                "internal",
                "Something went wrong here",
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::Unavailable => ("unavailable", "Try again soon", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// An error, to be answered.
#[derive(Debug)]
pub struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Given where the log names it.
    request_id: Option<String>,
}

/// A problem document as it is sent.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemDocument<'a> {
    /// `/problems/` and the word that tells one kind from another.
    #[schema(value_type = String, example = "/problems/invalid-parameter")]
    r#type: String,
    /// The same for all of its kind.
    #[schema(value_type = String)]
    title: &'static str,
    /// The status code.
    #[schema(example = 400)]
    status: u16,
    /// What is wrong with this request.
    #[schema(value_type = String)]
    detail: &'a str,
    /// Each parameter or field that cannot be accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemError<'a>>,
    /// What the log calls this request by.
    request_id: String,
}

/// One parameter or field that cannot be accepted.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemError<'a> {
    /// Its name.
    #[schema(value_type = String, example = "from")]
    parameter: &'a str,
    /// What it must be.
    #[schema(value_type = String)]
    reason: &'a str,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
            request_id: None,
        }
    }

    /// A problem with these parameters or fields; the detail names them all.
    pub fn of(kind: Kind, errors: Vec<FieldError>) -> Self {
        let detail: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Self {
            errors,
            ..Self::new(kind, detail.join("; "))
        }
    }

    /// A problem with one parameter of the path or the query.
    pub fn parameter(name: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::of(Kind::InvalidParameter, vec![FieldError::new(name, reason)])
    }

    /// Nothing there that the caller may see.
    pub fn not_found() -> Self {
        Self::new(
            Kind::NotFound,
            "there is nothing at this address that this key may see",
        )
    }

    /// The same with another header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same under the name that the log has for it.
    #[must_use]
    pub(crate) fn with_request_id(mut self, request_id: String) -> Self {
        self.request_id = Some(request_id);
        self
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl From<PortError> for Problem {
    /// The failure is logged here, where it is handled.
    fn from(error: PortError) -> Self {
        let request_id = request_id();
        let problem = if error.is_retryable() {
            tracing::warn!(%error, request_id, "a request is answered 503");
            Self::new(Kind::Unavailable, "a store does not answer at the moment")
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
        } else {
            tracing::error!(%error, request_id, "a request is answered 500");
            Self::new(Kind::Internal, "a store refuses what was asked of it")
        };
        problem.with_request_id(request_id)
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Invalid(errors) => Self::of(Kind::InvalidBody, errors),
            ChangeError::RedirectUrl(error) => Self::of(
                Kind::InvalidRedirectUrl,
                vec![FieldError::new("redirect_url", error.to_string())],
            ),
            ChangeError::Forbidden(detail) => Self::new(Kind::Forbidden, detail),
            ChangeError::NotFound => Self::not_found(),
            ChangeError::Conflict => Self::new(
                Kind::VersionConflict,
                "it has been changed meanwhile: read it again, then decide",
            ),
            ChangeError::Store(error) => error.into(),
        }
    }
}

/// A name for one request, unlike any other of any process: random for the process, then counted.
pub(crate) fn request_id() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Problem {
    /// Its document, under this name in the log.
    pub(crate) fn document(&self, request_id: String) -> ProblemDocument<'_> {
        let (word, title, status) = self.kind.describe();
        let errors = self.errors.iter().map(|error| ProblemError {
            parameter: &error.parameter,
            reason: &error.reason,
        });
        ProblemDocument {
            r#type: format!("/problems/{word}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            errors: errors.collect(),
            request_id,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let request_id = self.request_id.take().unwrap_or_else(request_id);
        let (_, _, status) = self.kind.describe();
        let document = self.document(request_id);
        // Strings and numbers only: nothing in it can fail to be JSON.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}
