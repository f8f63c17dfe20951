//! The one pool of HTTP/1.1 connections that everything here speaks to AWS through: the SDK's clients, and the lean client
//! of a click's two calls.
//!
//! Invariant: a failure says whether the request may have been sent: [`NotSent`] is only given where no connection came
//! about.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector as SdkConnector, HttpConnectorFuture, HttpConnectorSettings,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Longest wait for a TCP connection, milliseconds. Within a region it takes one or two.
const CONNECT_MS: u64 = 500;
/// A connection that was idle for so long is not used again, seconds: the other side is about to close it.
const IDLE_S: u64 = 50;

/// No connection came about: whatever was asked for was certainly not done.
#[derive(Debug, thiserror::Error)]
#[error("no connection: {0}")]
pub(crate) struct NotSent(#[source] pub(crate) Error);

/// Connections, kept alive. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    client: Client<HttpsConnector<HttpConnector>, SdkBody>,
}

impl Pool {
    /// A pool that has no connection yet. Trusts Mozilla's roots, compiled in: nothing is read or parsed at start.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_millis(CONNECT_MS)));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(Arc::new(rustls::crypto::ring::default_provider()))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(IDLE_S))
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { client })
    }

    /// Sends a request; answers with the response's head, its body still to come.
    pub(crate) async fn send(
        &self,
        request: http::Request<SdkBody>,
    ) -> Result<http::Response<Incoming>, Error> {
        self.client.request(request).await
    }
}

fn connector_error(error: Error) -> ConnectorError {
    if error.is_connect() {
        ConnectorError::io(Box::new(NotSent(error))).never_connected()
    } else {
        ConnectorError::io(Box::new(error))
    }
}

impl SdkConnector for Pool {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let pool = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let response = pool.send(request).await.map_err(connector_error)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

impl HttpClient for Pool {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
