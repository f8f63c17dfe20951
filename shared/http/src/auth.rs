//! Who calls: `Authorization: Bearer clk_<key id>_<secret>`, or, where nothing is changed, the cookie of a session.
//!
//! Invariant: a handler that takes a [`Caller`] runs only for a key that opens, whatever else is wrong with the request. A cookie
//! lets nobody change anything, and counts only in requests of our own pages.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use clickledger_core::domain::api_key::{ApiKey, Scope};
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::rate_limit::TooMany;

use crate::config::EdgeConfig;
use crate::problem::{Kind, Problem};
use crate::same_origin::{self, From, only};
use crate::session;
use crate::standing::tell;

/// Routes whose POST asks, with more than an address can hold.
pub(crate) const READS_BY_POST: [&str; 1] = ["/v1/metrics/query"];
const MALFORMED: &str = "must be: Authorization: Bearer clk_…";

/// What every part with keys shares, and the part's own services.
#[derive(Clone)]
pub(crate) struct Api<T> {
    pub(crate) of: T,
    pub(crate) keys: Arc<KeysService>,
    pub(crate) config: Arc<EdgeConfig>,
}

impl<T> FromRef<Api<T>> for Arc<KeysService> {
    fn from_ref(api: &Api<T>) -> Self {
        Arc::clone(&api.keys)
    }
}

impl<T> FromRef<Api<T>> for Arc<EdgeConfig> {
    fn from_ref(api: &Api<T>) -> Self {
        Arc::clone(&api.config)
    }
}

/// The holder of a key that opens.
pub(crate) struct Caller(Arc<ApiKey>);

impl Caller {
    pub(crate) fn scope(&self) -> &Scope {
        &self.0.scope
    }

    /// Refuses a publisher's key: `why` is told.
    ///
    /// # Errors
    /// 403
    pub(crate) fn must_not_be_publisher(&self, why: &'static str) -> Result<(), Problem> {
        match self.scope() {
            Scope::Publisher { .. } => Err(Problem::new(Kind::Forbidden, why)),
            Scope::Admin | Scope::Advertiser { .. } => Ok(()),
        }
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<KeysService>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let keys = Arc::<KeysService>::from_ref(state);
        let key = authenticate(&keys, parts).await?;
        match keys.admit(&key) {
            Ok(standing) => {
                tell(parts, standing);
                Ok(Self(key))
            }
            Err(too_many) => {
                tell(parts, too_many.standing);
                Err(rate_limited(
                    "this key has asked too often: wait as long as Retry-After says",
                    too_many,
                ))
            }
        }
    }
}

/// The key behind a request.
async fn authenticate(keys: &KeysService, parts: &Parts) -> Result<Arc<ApiKey>, Problem> {
    let Ok(given) = only(&parts.headers, &header::AUTHORIZATION) else {
        return Err(unauthorized(MALFORMED, true));
    };
    // A key wins over a cookie, also one that opens nothing.
    let Some(given) = given else {
        return by_session(keys, parts).await;
    };
    let Some(key) = given.to_str().ok().and_then(bearer) else {
        return Err(unauthorized(MALFORMED, true));
    };
    match keys.authenticate(key).await? {
        Some(key) => Ok(key),
        None => Err(unauthorized("this key opens nothing", true)),
    }
}

/// Whoever is signed in, where that is enough.
async fn by_session(keys: &KeysService, parts: &Parts) -> Result<Arc<ApiKey>, Problem> {
    let Some(session) = session::cookie(&parts.headers) else {
        return Err(unauthorized(
            "an API key is needed: Authorization: Bearer clk_…",
            false,
        ));
    };
    if !only_reads(parts) {
        return Err(unauthorized(
            "a session changes nothing: an API key is needed: Authorization: Bearer clk_…",
            false,
        ));
    }
    if same_origin::from(&parts.headers) != From::Own {
        return Err(unauthorized(
            "a session counts in requests of the dashboard's own pages only",
            false,
        ));
    }
    match keys.signed_in(session).await? {
        Some(signed_in) => Ok(signed_in.key),
        None => Err(unauthorized("the session is over: sign in again", false)),
    }
}

/// Whether the request is one that changes nothing, whatever comes with it.
fn only_reads(parts: &Parts) -> bool {
    let route = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    match (&parts.method, route) {
        (&Method::GET | &Method::HEAD, Some(route)) => route.starts_with("/v1/"),
        (&Method::POST, Some(route)) => READS_BY_POST.contains(&route),
        _ => false,
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| key.trim_matches(' '))
}

/// Too often: `Retry-After` says when to try again.
pub(crate) fn rate_limited(detail: &'static str, too_many: TooMany) -> Problem {
    Problem::new(Kind::RateLimited, detail).with_header(header::RETRY_AFTER, too_many.retry_after_s.into())
}

/// 401, with the challenge that belongs to it.
pub(crate) fn unauthorized(detail: &'static str, given: bool) -> Problem {
    let challenge = if given {
        "Bearer realm=\"clickledger\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"clickledger\""
    };
    Problem::new(Kind::Unauthorized, detail)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// The holder of an administrator's key.
pub(crate) struct Administrator;

impl<S> FromRequestParts<S> for Administrator
where
    S: Send + Sync,
    Arc<KeysService>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Caller::from_request_parts(parts, state).await?.scope() {
            Scope::Admin => Ok(Self),
            Scope::Advertiser { .. } | Scope::Publisher { .. } => {
                Err(Problem::new(Kind::Forbidden, "this is for administrators"))
            }
        }
    }
}
