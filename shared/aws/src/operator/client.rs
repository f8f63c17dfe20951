//! One signed request to a service that no adapter needs: Lambda, CloudFormation, CloudWatch Logs, Service Quotas.
//!
//! Invariant: only what a service says was not worked (it is busy, or broke down) is asked again; what an operator asks only reads.

use std::time::{Duration, UNIX_EPOCH};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use clickledger_core::ports::{PortError, PortResult};
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Method, Uri};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::Operator;
use crate::connect::Road;
use crate::failure;

const TRIES: u32 = 5;
/// The longest wait for one answer: a page of a large log takes seconds.
const LIMIT: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What is asked, in the protocol of the service.
pub(crate) enum Ask<'a> {
    /// JSON 1.1: the operation, as `X-Amz-Target` names it, and its input.
    Json(&'static str, Value),
    /// REST: what is at this path.
    Get(&'a str),
    /// Query: `Action`, `Version` and the operation's fields, answered in XML.
    Query(&'a [(&'a str, &'a str)]),
    /// Lambda: an event for the function at this path, whose end is not waited for.
    Event(&'a str, &'a Value),
}

pub(crate) struct Answer {
    status: u16,
    /// The header that REST services name an error in.
    kind: Option<String>,
    body: Bytes,
}

impl Answer {
    /// The body of a success; else what the service says.
    pub(crate) fn success(self) -> PortResult<Bytes> {
        if self.status < 300 {
            return Ok(self.body);
        }
        let (code, message) = (self.code(), self.message().unwrap_or_default());
        Err(failure::answered(code.as_deref(), self.status, &message))
    }

    fn again(&self) -> bool {
        let code = self.code().unwrap_or_default();
        self.status >= 500 || self.status == 429 || code.contains("Throttling")
    }

    fn code(&self) -> Option<String> {
        let json = || Some(self.json()?.get("__type")?.as_str()?.to_owned());
        let code = self.kind.clone().or_else(json).or_else(|| self.tag("Code"))?;
        // Services put a namespace before it, or an address behind it.
        let code = code.split(':').next().unwrap_or_default();
        Some(code.rsplit('#').next().unwrap_or_default().to_owned())
    }

    fn message(&self) -> Option<String> {
        let json = || {
            let json = self.json()?;
            let message = json.get("message").or_else(|| json.get("Message"))?;
            Some(message.as_str()?.to_owned())
        };
        json().or_else(|| self.tag("Message"))
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The text of an XML error's element; it is only shown.
    fn tag(&self, name: &str) -> Option<String> {
        let text = std::str::from_utf8(&self.body).ok()?;
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    }
}

impl Operator {
    /// The body of a success.
    ///
    /// # Errors
    /// What the service says, or why there is no answer.
    pub(super) async fn ask(&self, service: &'static str, ask: &Ask<'_>) -> PortResult<Bytes> {
        let road = self.aws.road(service).await.map_err(PortError::rejected)?;
        let mut pause = FIRST_PAUSE;
        for tries in 1.. {
            let answered = timeout(LIMIT, send(&road, service, ask)).await;
            let answer =
                answered.map_err(|_| PortError::unavailable(format!("{service} does not answer")))?;
            match answer {
                Ok(answer) if tries >= TRIES || !answer.again() => return answer.success(),
                Err(error) if tries >= TRIES || !error.is_retryable() => return Err(error),
                _ => sleep(pause).await,
            }
            pause *= 2;
        }
        Err(PortError::unavailable("not tried"))
    }

    /// The same as JSON.
    pub(super) async fn ask_json(&self, service: &'static str, ask: &Ask<'_>) -> PortResult<Value> {
        let body = self.ask(service, ask).await?;
        serde_json::from_slice(&body).map_err(PortError::rejected)
    }
}

/// Sends it once. An answer of any status is an answer.
///
/// # Errors
/// No credentials, no connection, or no answer.
pub(crate) async fn send(road: &Road, service: &str, ask: &Ask<'_>) -> PortResult<Answer> {
    const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
    const INVOCATION: HeaderName = HeaderName::from_static("x-amz-invocation-type");
    const KIND: &str = "x-amzn-errortype";
    let (method, path, body, content, target) = match ask {
        Ask::Json(target, input) => (
            Method::POST,
            "/",
            input.to_string(),
            Some("application/x-amz-json-1.1"),
            Some(*target),
        ),
        Ask::Get(path) => (Method::GET, *path, String::new(), None, None),
        Ask::Query(fields) => {
            let fields = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(*fields)
                .finish();
            let content = "application/x-www-form-urlencoded";
            (Method::POST, "/", fields, Some(content), None)
        }
        Ask::Event(path, event) => (
            Method::POST,
            *path,
            event.to_string(),
            Some("application/json"),
            None,
        ),
    };
    let invocation = matches!(ask, Ask::Event(..)).then_some("Event");
    let mut parts = road.url.clone().into_parts();
    parts.path_and_query = Some(path.parse().map_err(PortError::rejected)?);
    let url = Uri::from_parts(parts).map_err(PortError::rejected)?;
    let host = url
        .authority()
        .map_or("", http::uri::Authority::as_str)
        .to_owned();
    let given: Vec<(&str, &str)> = [
        Some(("host", &*host)),
        content.map(|content| ("content-type", content)),
        target.map(|target| ("x-amz-target", target)),
        invocation.map(|kind| ("x-amz-invocation-type", kind)),
    ]
    .into_iter()
    .flatten()
    .collect();

    let credentials = road.credentials.get().await?;
    let identity = (*credentials).clone().into();
    let now = Duration::from_millis(u64::try_from(road.clock.now_ms()).unwrap_or_default());
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&road.region)
        .name(service)
        .time(UNIX_EPOCH + now)
        .settings(SigningSettings::default())
        .build()
        .map_err(PortError::rejected)?
        .into();
    let signable = SignableRequest::new(
        method.as_str(),
        url.to_string(),
        given.into_iter(),
        SignableBody::Bytes(body.as_bytes()),
    );
    let (signed, _) = sign(signable.map_err(PortError::rejected)?, &params)
        .map_err(PortError::rejected)?
        .into_parts();

    let mut request = http::Request::new(SdkBody::from(body.clone()));
    *request.method_mut() = method;
    *request.uri_mut() = url;
    let headers = request.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).map_err(PortError::rejected);
    headers.insert(HOST, value(&host)?);
    if let Some(content) = content {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    }
    if let Some(target) = target {
        headers.insert(TARGET, HeaderValue::from_static(target));
    }
    if let Some(kind) = invocation {
        headers.insert(INVOCATION, HeaderValue::from_static(kind));
    }
    for (name, text) in signed.headers() {
        let mut value = value(text)?;
        value.set_sensitive(true);
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).map_err(PortError::rejected)?,
            value,
        );
    }
    let sent = road.pool.send(request).await;
    let response = sent.map_err(|error| failure::of_pool(&error))?;
    let status = response.status().as_u16();
    let kind = response.headers().get(KIND).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(str::to_owned);
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(PortError::ambiguous)?;
    Ok(Answer {
        status,
        kind,
        body: body.to_bytes(),
    })
}
