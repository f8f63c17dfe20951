//! `/dashboard/session`: signing in with a key, asking who is signed in, signing out.
//!
//! Invariant: a session's text leaves in one cookie of the answer that begins it and comes in by that cookie alone; a page never
//! sees it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::service::keys::{KeysService, SESSION_MS, SignIn, SignedIn};
use clickledger_core::service::metrics::LocalTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Api, rate_limited, unauthorized};
use crate::client::Client;
use crate::config::EdgeConfig;
use crate::keys::ScopeName;
use crate::params::NoParams;
use crate::problem::{Kind, Problem, ProblemDocument};
use crate::request_body::JsonBody;
use crate::same_origin::{self, From};

/// The cookie's name. Browsers take one of this prefix only over TLS (or from this machine), for the whole host and no other.
pub(crate) const COOKIE: &str = "__Host-clickledger";
/// What its deletion has in common with it.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// Signing in and out.
pub fn session_router(keys: Arc<KeysService>, config: Arc<EdgeConfig>) -> OpenApiRouter {
    routes().with_state(Api { of: (), keys, config })
}

fn routes() -> OpenApiRouter<Api<()>> {
    OpenApiRouter::new().routes(routes!(sign_in, signed_in, sign_out))
}

/// What the routes say about themselves.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// What somebody signs in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInBody {
    /// An API key
    #[schema(example = "clk_…")]
    key: String,
}

/// Who is signed in. A session sees what its key sees, and changes nothing.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    scope: ScopeName,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    advertiser_id: Option<AdvertiserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    placement_ids: Option<Vec<PlacementId>>,
    #[schema(value_type = String, format = DateTime)]
    expires_at: LocalTime,
}

impl std::convert::From<&SignedIn> for SessionView {
    fn from(signed_in: &SignedIn) -> Self {
        let (scope, advertiser_id, placement_ids) = match &signed_in.key.scope {
            Scope::Admin => (ScopeName::Admin, None, None),
            Scope::Advertiser { advertiser_id, .. } => (ScopeName::Advertiser, Some(*advertiser_id), None),
            Scope::Publisher { placement_ids } => (ScopeName::Publisher, None, Some(placement_ids.clone())),
        };
        Self {
            scope,
            advertiser_id,
            placement_ids,
            expires_at: LocalTime::utc(signed_in.expires_ms),
        }
    }
}

/// The text of the session's cookie; `None` where there is none, or more than one.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut texts = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    texts.next().filter(|_| texts.next().is_none())
}

/// Signs in: begins a session that may read what the key may read, and sets its cookie.
#[utoipa::path(post, path = "/dashboard/session", tag = "session", request_body = SignInBody, responses(
    (status = 200, body = SessionView, description = "Signed in", headers(("Set-Cookie" = String))),
    (status = 401, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "The key opens nothing"),
    (status = 403, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Another site's page asks"),
    (status = 429, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Too many sign-ins of this client", headers(("Retry-After" = String))),
))]
async fn sign_in(
    _: NoParams,
    State(api): State<Api<()>>,
    parts: Parts,
    JsonBody(body): JsonBody<SignInBody>,
) -> Result<Response, Problem> {
    // Else another's page could sign somebody in as somebody else.
    if same_origin::from(&parts.headers) == From::Other {
        return Err(of_another_page());
    }
    let client = Client::of(&api.config, &parts).address;
    match api.keys.sign_in(&body.key, client).await? {
        SignIn::Done(signed_in, session) => {
            let (text, seconds) = (session.reveal(), SESSION_MS / 1_000);
            let cookie = format!("{COOKIE}={text}; {ATTRIBUTES}; Max-Age={seconds}");
            let mut cookie = HeaderValue::try_from(cookie)
                .map_err(|_| Problem::new(Kind::Internal, "the session's cookie cannot be sent"))?;
            cookie.set_sensitive(true);
            Ok((
                [(header::SET_COOKIE, cookie)],
                Json(SessionView::from(&signed_in)),
            )
                .into_response())
        }
        SignIn::Wrong => Err(unauthorized("this key opens nothing", false)),
        SignIn::TooMany(too_many) => Err(rate_limited(
            "too many sign-ins came from this address: wait as long as Retry-After says",
            too_many,
        )),
    }
}

/// Who is signed in.
#[utoipa::path(get, path = "/dashboard/session", tag = "session", operation_id = "get_session", security(("session" = [])), responses(
    (status = 200, body = SessionView, description = "The session"),
    (status = 401, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Nobody is signed in"),
))]
async fn signed_in(
    _: NoParams,
    State(api): State<Api<()>>,
    headers: HeaderMap,
) -> Result<Json<SessionView>, Problem> {
    let session = cookie(&headers).filter(|_| same_origin::from(&headers) == From::Own);
    let signed_in = match session {
        Some(session) => api.keys.signed_in(session).await?,
        None => None,
    };
    let signed_in = signed_in.ok_or_else(|| unauthorized("nobody is signed in", false))?;
    Ok(Json(SessionView::from(&signed_in)))
}

/// Signs out: ends the session, if there is one, and takes the cookie back.
#[utoipa::path(delete, path = "/dashboard/session", tag = "session", responses(
    (status = 204, description = "Nobody is signed in any more", headers(("Set-Cookie" = String))),
    (status = 403, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Another page than the dashboard asks"),
))]
async fn sign_out(_: NoParams, State(api): State<Api<()>>, headers: HeaderMap) -> Result<Response, Problem> {
    if same_origin::from(&headers) != From::Own {
        return Err(of_another_page());
    }
    if let Some(session) = cookie(&headers) {
        api.keys.sign_out(session).await?;
    }
    let cookie = HeaderValue::try_from(format!("{COOKIE}=; {ATTRIBUTES}; Max-Age=0"))
        .map_err(|_| Problem::new(Kind::Internal, "the cookie cannot be taken back"))?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

fn of_another_page() -> Problem {
    Problem::new(
        Kind::Forbidden,
        "sessions are begun and ended by the dashboard's own page",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_counts_only_once() {
        for (lines, found) in [
            (vec!["__Host-clickledger=x"], Some("x")),
            (vec!["a=b; __Host-clickledger=x;c=d"], Some("x")),
            (vec!["a=b", "__Host-clickledger=x"], Some("x")),
            (vec!["__Host-clickledger="], Some("")),
            (vec![], None),
            (vec!["a=__Host-clickledger=x"], None),
            (vec!["__Host-clickledger2=x"], None),
            (vec!["__host-clickledger=x"], None),
            (vec!["__Host-clickledger=x; __Host-clickledger=y"], None),
            (vec!["__Host-clickledger=x", "__Host-clickledger=x"], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            assert_eq!(cookie(&headers), found, "{lines:?}");
        }
    }
}
