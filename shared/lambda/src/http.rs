//! A router behind an HTTP API: events of payload format 2.0 become requests, responses become answers.
//!
//! Invariant: what a router sees is what the client sent: path, query, headers and body as they are, and as the peer the
//! address that API Gateway saw. An event that is no request is answered with 400, never with a crash.
//!
//! Only the fields that are needed are read. The general crate for this reads all of them several times over; here the
//! event is most of an invocation's work (`docs/adr/0009-lambda-events.md`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use lambda_runtime::{LambdaEvent, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tower::ServiceExt;

use crate::telemetry::Telemetry;

/// An HTTP API's event, payload format 2.0.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpEvent {
    #[serde(default)]
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default, deserialize_with = "headers")]
    headers: HeaderMap,
    #[serde(default)]
    cookies: Vec<String>,
    request_context: RequestContext,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
struct RequestContext {
    http: Http,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: String,
    #[serde(default)]
    source_ip: String,
}

/// What API Gateway is answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAnswer {
    status_code: u16,
    #[serde(serialize_with = "one_by_one")]
    headers: HeaderMap,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    body: String,
    is_base64_encoded: bool,
}

/// Runs the router behind the HTTP API, several requests at a time where the environment allows it.
///
/// # Errors
/// The runtime's.
pub async fn run(router: Router, telemetry: Telemetry) -> Result<(), lambda_runtime::Error> {
    let answer_one = move |event: LambdaEvent<HttpEvent>| {
        let router = router.clone();
        async move {
            let answered = answer(router, event.payload).await;
            telemetry.invocation_done();
            Ok::<_, std::convert::Infallible>(answered)
        }
    };
    lambda_runtime::run_concurrent(service_fn(answer_one)).await
}

/// Answers one event.
pub async fn answer(router: Router, event: HttpEvent) -> HttpAnswer {
    let Some(request) = event.into_request() else {
        return HttpAnswer::empty(StatusCode::BAD_REQUEST);
    };
    match router.oneshot(request).await {
        Ok(response) => HttpAnswer::of(response).await,
        Err(never) => match never {},
    }
}

/// What may not stand in a path or a query as it is.
const NOT_IN_URIS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

impl HttpEvent {
    fn uri(&self) -> Option<Uri> {
        let mut text = String::with_capacity(self.raw_path.len() + self.raw_query_string.len() + 1);
        text.push_str(if self.raw_path.is_empty() {
            "/"
        } else {
            &self.raw_path
        });
        if !self.raw_query_string.is_empty() {
            text.push('?');
            text.push_str(&self.raw_query_string);
        }
        // API Gateway decodes some of what the client had encoded.
        let encoded = || utf8_percent_encode(&text, NOT_IN_URIS).to_string();
        text.parse().or_else(|_| encoded().parse()).ok()
    }

    fn into_request(mut self) -> Option<Request<Body>> {
        let uri = self.uri()?;
        let body = match self.body.take() {
            None => Bytes::new(),
            Some(text) if self.is_base64_encoded => STANDARD.decode(text).ok()?.into(),
            Some(text) => text.into(),
        };
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::from_bytes(self.request_context.http.method.as_bytes()).ok()?;
        *request.uri_mut() = uri;
        if !self.cookies.is_empty() {
            let cookies = HeaderValue::from_str(&self.cookies.join("; ")).ok()?;
            self.headers.insert(header::COOKIE, cookies);
        }
        *request.headers_mut() = self.headers;
        if let Ok(peer) = self.request_context.http.source_ip.parse::<IpAddr>() {
            let peer = ConnectInfo(SocketAddr::new(peer, 0));
            request.extensions_mut().insert(peer);
        }
        Some(request)
    }
}

impl HttpAnswer {
    fn empty(status: StatusCode) -> Self {
        Self {
            status_code: status.as_u16(),
            headers: HeaderMap::new(),
            cookies: Vec::new(),
            body: String::new(),
            is_base64_encoded: false,
        }
    }

    async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                tracing::error!(%error, "an answer's body ended early");
                return Self::empty(StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        let (body, is_base64_encoded) = match String::from_utf8(body.into()) {
            Ok(text) => (text, false),
            Err(bytes) => (STANDARD.encode(bytes.into_bytes()), true),
        };
        let mut headers = parts.headers;
        let cookies = headers.get_all(header::SET_COOKIE).iter();
        let cookies = cookies
            .filter_map(|cookie| cookie.to_str().ok().map(str::to_owned))
            .collect();
        headers.remove(header::SET_COOKIE);
        Self {
            status_code: parts.status.as_u16(),
            headers,
            cookies,
            body,
            is_base64_encoded,
        }
    }
}

/// Headers of an event: one text a name; several of a name are joined by API Gateway.
fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderMap, D::Error> {
    struct Headers;
    impl<'de> Visitor<'de> for Headers {
        type Value = HeaderMap;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of headers")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderMap, A::Error> {
            let mut headers = HeaderMap::with_capacity(map.size_hint().unwrap_or(16));
            while let Some((name, value)) = map.next_entry::<String, String>()? {
                // What is no header can't have come over HTTP.
                if let (Ok(name), Ok(value)) = (
                    HeaderName::from_bytes(name.as_bytes()),
                    HeaderValue::from_maybe_shared(Bytes::from(value)),
                ) {
                    headers.append(name, value);
                }
            }
            Ok(headers)
        }
    }
    deserializer.deserialize_map(Headers)
}

/// Headers of an answer: one text a name.
fn one_by_one<S: Serializer>(headers: &HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(headers.keys_len()))?;
    for name in headers.keys() {
        let mut values = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let Some(first) = values.next() else { continue };
        match values.next() {
            None => map.serialize_entry(name.as_str(), first)?,
            Some(second) => {
                let joined = values.fold(format!("{first}, {second}"), |all, next| all + ", " + next);
                map.serialize_entry(name.as_str(), &joined)?;
            }
        }
    }
    map.end()
}

#[cfg(test)]
mod tests;
