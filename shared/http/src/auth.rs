//! Who calls: `Authorization: Bearer clk_<key id>_<secret>`.
//!
//! Invariant: a handler that takes a [`Caller`] runs only for a key that opens, whatever else is wrong with the request.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use clickledger_core::domain::api_key::{ApiKey, Scope};
use clickledger_core::service::keys::KeysService;

use crate::config::EdgeConfig;
use crate::problem::{Kind, Problem};

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
        let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
        let key = match (given.next(), given.next()) {
            (None, _) => {
                return Err(unauthorized(
                    "an API key is needed: Authorization: Bearer clk_…",
                    false,
                ));
            }
            (Some(one), None) => one.to_str().ok().and_then(bearer),
            (Some(_), Some(_)) => None,
        };
        let Some(key) = key else {
            return Err(unauthorized("must be: Authorization: Bearer clk_…", true));
        };
        let keys = Arc::<KeysService>::from_ref(state);
        match keys.authenticate(key).await? {
            Some(key) => Ok(Self(key)),
            None => Err(unauthorized("this key opens nothing", true)),
        }
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| key.trim_matches(' '))
}

fn unauthorized(detail: &'static str, given: bool) -> Problem {
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
