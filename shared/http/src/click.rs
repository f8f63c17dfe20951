//! `/click`: what an ad's link leads to. The hot path: nothing is parsed or copied that need not be.
//!
//! Invariants: the destination comes from the ad alone; `HEAD` and `OPTIONS` count nothing; whatever else is wrong with a click,
//! a known ad redirects.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clickledger_core::domain::ad::Ad;
use clickledger_core::domain::ids::AdId;
use clickledger_core::ports::PortError;
use clickledger_core::service::click::{ClickOutcome, ClickRequest, ClickService, Recorded};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::client::Client;
use crate::config::EdgeConfig;
use crate::counters::ClickCounters;
use crate::problem::{Kind, Problem, ProblemDocument, request_id};
use crate::request_body;
use crate::to_the_end::ToTheEnd;

/// Says `false` where no store took the click's record.
const RECORDED: HeaderName = HeaderName::from_static("clickledger-recorded");
/// Longest user agent that is looked at, bytes.
const MAX_AGENT_BYTES: usize = 1024;
const ANY_ORIGIN: (HeaderName, HeaderValue) =
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));

struct ClickEdge {
    click: Arc<ClickService>,
    config: Arc<EdgeConfig>,
    counters: ClickCounters,
}

/// `/click`.
pub fn click_router(click: Arc<ClickService>, config: Arc<EdgeConfig>) -> OpenApiRouter {
    routes().with_state(Arc::new(ClickEdge {
        click,
        config,
        counters: ClickCounters::new(),
    }))
}

fn routes() -> OpenApiRouter<Arc<ClickEdge>> {
    OpenApiRouter::new().routes(routes!(follow, look, beacon, preflight))
}

/// What the route says about itself.
pub(crate) fn described() -> OpenApi {
    routes().into_openapi()
}

/// Counts the click and leads to the ad's URL.
///
/// Of a parameter that is given twice the first counts; parameters of other names mean nothing.
#[utoipa::path(get, path = "/click", tag = "click", operation_id = "follow_click",
    params(
        ("adId" = String, Query, pattern = "^[1-9][0-9]{0,18}$", description = "The ad"),
        ("imp" = Option<String>, Query, description = "The impression token; without it the click is invalid, but redirects"),
    ),
    responses(
        (status = 302, description = "To the ad's URL", headers(
            ("Location" = String),
            ("Clickledger-Recorded" = Option<String>, description = "`false` where no store could take the click"),
        )),
        (status = 400, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "No ad is named"),
        (status = 404, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "No such ad"),
        (status = 503, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Nobody knows the ad now"),
    ))]
async fn follow(State(edge): State<Arc<ClickEdge>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    ToTheEnd::new(async move {
        let query = Clicked::default().or(parts.uri.query().unwrap_or_default().as_bytes());
        let (ad, recorded) = edge.click(&parts, &query).await?;
        redirect(&ad, recorded)
    })
    .await
}

/// Where the ad leads; counts nothing.
#[utoipa::path(head, path = "/click", tag = "click", operation_id = "look_at_click",
    params(("adId" = String, Query, pattern = "^[1-9][0-9]{0,18}$", description = "The ad")),
    responses(
        (status = 302, description = "To the ad's URL", headers(("Location" = String))),
        (status = 400, description = "No ad is named"),
        (status = 404, description = "No such ad"),
        (status = 503, description = "Nobody knows the ad now"),
    ))]
async fn look(State(edge): State<Arc<ClickEdge>>, request: Request) -> Result<Response, Problem> {
    let query = Clicked::default().or(request.uri().query().unwrap_or_default().as_bytes());
    match edge.click.destination(query.ad_id()?).await {
        Ok(Some(ad)) => redirect(&ad, Recorded::Stream),
        Ok(None) => Err(unknown_ad()),
        Err(error) => Err(unavailable(&error)),
    }
}

/// Counts a click whose page goes its own way, as `navigator.sendBeacon` sends it.
///
/// The parameters stand in the query or in the body; the query's come first.
#[utoipa::path(post, path = "/click", tag = "click", operation_id = "send_click",
    params(
        ("adId" = Option<String>, Query, pattern = "^[1-9][0-9]{0,18}$", description = "The ad"),
        ("imp" = Option<String>, Query, description = "The impression token"),
    ),
    request_body(content(
        (String = "application/x-www-form-urlencoded", example = "adId=731&imp=AQ…"),
        (String = "text/plain"),
    )),
    responses(
        (status = 204, description = "Counted as what it is"),
        (status = 400, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "No ad is named"),
        (status = 404, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "No such ad"),
        (status = 413, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "The body is too large"),
        (status = 415, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "The body is neither a form nor plain text"),
        (status = 503, body = ProblemDocument<'static>, content_type = "application/problem+json", description = "Nobody knows the ad now"),
    ))]
async fn beacon(State(edge): State<Arc<ClickEdge>>, request: Request) -> Result<Response, Problem> {
    let (origin, any) = ANY_ORIGIN;
    match edge.beacon(request).await {
        Ok(recorded) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(origin, any);
            if recorded == Recorded::Nowhere {
                headers.insert(RECORDED, HeaderValue::from_static("false"));
                headers.insert(
                    header::ACCESS_CONTROL_EXPOSE_HEADERS,
                    HeaderValue::from_name(RECORDED),
                );
            }
            Ok(response)
        }
        Err(problem) => Err(problem.with_header(origin, any)),
    }
}

/// What may be asked of `/click` from other pages.
#[utoipa::path(options, path = "/click", tag = "click", operation_id = "click_methods", responses((status = 204, description = "The methods")))]
async fn preflight() -> impl IntoResponse {
    (
        StatusCode::NO_CONTENT,
        [
            (header::ALLOW, HeaderValue::from_static("GET,HEAD,POST,OPTIONS")),
            ANY_ORIGIN,
            (
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("POST"),
            ),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("content-type"),
            ),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
        ],
    )
}

/// The parameters of a click.
#[derive(Default)]
struct Clicked<'a> {
    ad_id: Option<Cow<'a, str>>,
    imp: Option<Cow<'a, str>>,
}

impl<'a> Clicked<'a> {
    /// With what is missing from this query.
    fn or(mut self, query: &'a [u8]) -> Self {
        for (name, value) in form_urlencoded::parse(query) {
            let place = match &*name {
                "adId" => &mut self.ad_id,
                "imp" => &mut self.imp,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        self
    }

    fn ad_id(&self) -> Result<AdId, Problem> {
        match &self.ad_id {
            None => Err(Problem::parameter("adId", "is missing")),
            Some(text) => text
                .parse()
                .map_err(|error| Problem::parameter("adId", format!("{error}"))),
        }
    }
}

impl ClickEdge {
    async fn beacon(self: Arc<Self>, request: Request) -> Result<Recorded, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = if body.is_end_stream() {
            Default::default()
        } else {
            request_body::read(body, self.config.limits.body_bytes).await?
        };
        let readable = || {
            let media_type = request_body::media_type(&parts.headers);
            matches!(
                media_type.as_deref(),
                Some("application/x-www-form-urlencoded" | "text/plain")
            )
        };
        if !bytes.is_empty() && !readable() {
            let detail = "a body must be application/x-www-form-urlencoded or text/plain";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        ToTheEnd::new(async move {
            let query = parts.uri.query().unwrap_or_default().as_bytes();
            let clicked = Clicked::default().or(query).or(bytes.trim_ascii());
            Ok(self.click(&parts, &clicked).await?.1)
        })
        .await
    }

    async fn click(&self, parts: &Parts, clicked: &Clicked<'_>) -> Result<(Arc<Ad>, Recorded), Problem> {
        let ad_id = clicked
            .ad_id()
            .inspect_err(|_| self.counters.invalid.increment(1))?;
        let client = Client::of(&self.config, parts);
        let headers = &parts.headers;
        let agent = text(headers, &header::USER_AGENT);
        let referrer = text(headers, &header::REFERER);
        let request = ClickRequest {
            ad_id,
            token: clicked.imp.as_deref(),
            user_agent: agent.as_deref().map(shortened),
            client: client.address,
            country: client.country,
            prefetch: is_prefetch(headers),
            private: headers.get("sec-gpc").is_some_and(|value| value == "1"),
            referrer: referrer.as_deref(),
        };
        match self.click.click(&request).await {
            Ok(ClickOutcome::Redirect {
                ad,
                verdict,
                recorded,
                ..
            }) => {
                self.counters.of(verdict).increment(1);
                match recorded {
                    Recorded::Stream => {}
                    Recorded::Spill => self.counters.spilled.increment(1),
                    Recorded::LastResort => self.counters.last_resort.increment(1),
                    Recorded::Nowhere => self.counters.unrecorded.increment(1),
                }
                Ok((ad, recorded))
            }
            Ok(ClickOutcome::UnknownAd) => {
                self.counters.unknown_ad.increment(1);
                Err(unknown_ad())
            }
            Err(error) => {
                self.counters.unavailable.increment(1);
                Err(unavailable(&error))
            }
        }
    }
}

fn unknown_ad() -> Problem {
    Problem::new(Kind::NotFound, "there is no such ad")
}

/// Whatever is wrong with the catalogue, nobody knows where the click leads: come again.
fn unavailable(error: &PortError) -> Problem {
    let request_id = request_id();
    tracing::warn!(%error, request_id, "a click is answered 503");
    let detail = "nobody knows at the moment where this ad leads";
    Problem::new(Kind::Unavailable, detail)
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
        .with_request_id(request_id)
}

fn redirect(ad: &Ad, recorded: Recorded) -> Result<Response, Problem> {
    // A redirect URL is printable ASCII, so it always is a header's value.
    let location = HeaderValue::from_str(ad.redirect_url.as_str())
        .map_err(|_| Problem::new(Kind::Internal, "the ad's URL cannot be sent"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.reserve(6);
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if recorded == Recorded::Nowhere {
        headers.insert(RECORDED, HeaderValue::from_static("false"));
    }
    Ok(response)
}

/// A header as text; bytes that are no UTF-8 are replaced.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
}

fn shortened(agent: &str) -> &str {
    &agent[..agent.floor_char_boundary(MAX_AGENT_BYTES)]
}

/// Whether the browser only fetches ahead: `Sec-Purpose` of the Fetch standard, and its older names.
fn is_prefetch(headers: &HeaderMap) -> bool {
    let ahead = |name: &'static str| {
        headers.get_all(name).iter().any(|value| {
            let ahead: [&[u8]; 3] = [b"prefetch", b"prerender", b"preview"];
            ahead.iter().any(|word| {
                value
                    .as_bytes()
                    .windows(word.len())
                    .any(|part| part.eq_ignore_ascii_case(word))
            })
        })
    };
    ["sec-purpose", "purpose", "x-purpose", "x-moz"]
        .into_iter()
        .any(ahead)
}
