//! The lean client: one signed `POST /` of JSON, for the two calls that every click makes. The SDK does everything else.
//!
//! It does what the SDK's client does that matters to a click, through the same connections, at a fraction of the
//! processor time (docs/adr/0007-aws-clients.md has the figures). Invariant: an error answer is judged by
//! [`crate::failure`], as the SDK's are.

use std::sync::Arc;

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use clickledger_core::ports::{Clock, PortError, PortResult};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Method, Uri};
use http_body_util::BodyExt;

use crate::credentials::CredentialCache;
use crate::failure;
use crate::http_pool::Pool;
use crate::patience::Patience;
use crate::signature::Signer;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What is called: the service's operation, and the version of JSON that it speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// As `X-Amz-Target` names it.
    pub(crate) target: &'static str,
    /// The content type.
    pub(crate) content: &'static str,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// JSON.
    pub(crate) body: Bytes,
}

impl Answer {
    /// The error's code, without its namespace.
    pub(crate) fn code(&self) -> Option<String> {
        let error: Fault = serde_json::from_slice(&self.body).ok()?;
        let code = error.code?;
        Some(code.rsplit('#').next().unwrap_or(&code).to_owned())
    }

    /// What an answer that is no success means.
    pub(crate) fn fault(&self) -> PortError {
        let message = serde_json::from_slice::<Fault>(&self.body)
            .ok()
            .and_then(|fault| fault.message)
            .unwrap_or_default();
        failure::answered(self.code().as_deref(), self.status, &message)
    }
}

#[derive(serde::Deserialize)]
struct Fault {
    #[serde(rename = "__type")]
    code: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// A client of one service.
pub(crate) struct Signed {
    pool: Pool,
    url: Uri,
    host: HeaderValue,
    signer: Signer,
    credentials: Arc<CredentialCache>,
    clock: Arc<dyn Clock>,
}

impl Signed {
    /// A client of this service at this URL.
    pub(crate) fn new(
        pool: Pool,
        service: &'static str,
        url: Uri,
        region: &str,
        credentials: Arc<CredentialCache>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let host = url.authority().map_or("", http::uri::Authority::as_str);
        Self {
            host: HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("")),
            signer: Signer::new(service, region),
            pool,
            url,
            credentials,
            clock,
        }
    }

    /// Calls an operation with this patience until it succeeds; what it answers.
    ///
    /// # Errors
    /// As [`call`](Self::call), or an answer that is no success.
    pub(crate) async fn ask(
        &self,
        patience: Patience,
        operation: Operation,
        body: &serde_json::Value,
    ) -> PortResult<Bytes> {
        let body = serde_json::to_vec(body).map_err(PortError::rejected)?;
        let call = || async {
            let answer = self.call(operation, body.clone()).await?;
            if answer.status == 200 {
                Ok(answer.body)
            } else {
                Err(answer.fault())
            }
        };
        patience.run(call).await
    }

    /// Calls an operation. An answer of any status is an answer.
    ///
    /// # Errors
    /// No credentials, no connection, or no answer.
    pub(crate) async fn call(&self, operation: Operation, body: Vec<u8>) -> PortResult<Answer> {
        let credentials = self.credentials.get().await?;
        let host = self.host.to_str().unwrap_or_default();
        let signed = self.signer.sign(
            &credentials,
            self.clock.now_ms(),
            host,
            operation.content,
            operation.target,
            &body,
        );
        let header = |text: &str| HeaderValue::from_str(text).map_err(PortError::rejected);
        let mut request = http::Request::new(SdkBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.reserve(8);
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(operation.content));
        headers.insert(TARGET, HeaderValue::from_static(operation.target));
        headers.insert(DATE, header(signed.date_time())?);
        if let Some(token) = credentials.session_token() {
            let mut token = header(token)?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
        }
        let mut authorization = header(&signed.authorization)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);

        let response = self
            .pool
            .send(request)
            .await
            .map_err(|error| failure::of_pool(&error))?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(PortError::ambiguous)?;
        Ok(Answer {
            status,
            body: body.to_bytes(),
        })
    }
}
