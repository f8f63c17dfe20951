//! What the functions behind the HTTP API share: what their environment says about clients and proxies, and what they load
//! again while they serve.
//!
//! Invariant: no proxy is trusted unless both its hops and its secret are given.

mod fresh;

use axum::http::HeaderName;
use clickledger_aws::{Aws, Patience};
use clickledger_core::ports::PortError;
use clickledger_http::{EdgeConfig, Forwarding, ProxySecret, TrustedProxy};
use clickledger_lambda::config::{self, ConfigError};

pub use fresh::{with_fresh_snapshot, with_fresh_token_keys};

const HOPS: &str = "CLICKLEDGER_PROXY_HOPS";
const SECRET: &str = "CLICKLEDGER_PROXY_SECRET_ARN";
const COUNTRY: &str = "CLICKLEDGER_COUNTRY_HEADER";
/// Where the proxy sends its secret.
const SECRET_HEADER: HeaderName = HeaderName::from_static("x-clickledger-proxy-secret");

/// Why the edge cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// A variable is missing or bad.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The proxy's secret could not be read.
    #[error("the proxy's secret could not be read: {0}")]
    Secret(#[from] PortError),
    /// The proxy's secret is no secret.
    #[error("the proxy's secret must have at least 16 bytes")]
    ShortSecret,
}

/// The settings of the routers.
///
/// # Errors
/// [`EdgeError`]
pub async fn config(aws: &Aws) -> Result<EdgeConfig, EdgeError> {
    let mut edge = EdgeConfig::default();
    if let Some(name) = config::optional(COUNTRY) {
        edge.country_header = name.parse().map_err(|_| bad(COUNTRY, "a header's name", name))?;
    }
    if let Some(hops) = config::number(HOPS)?.filter(|hops| *hops > 0) {
        let few = u8::try_from(hops).map_err(|_| bad(HOPS, "at most 255", hops.to_string()))?;
        let secret = aws
            .plain_secret(&config::required(SECRET)?, Patience::START)
            .await?;
        edge.trusted_proxy = Some(TrustedProxy {
            hops: few,
            secret_header: SECRET_HEADER,
            secret: ProxySecret::new(&secret).ok_or(EdgeError::ShortSecret)?,
            forwarding: Forwarding::XForwardedFor,
        });
    }
    Ok(edge)
}

fn bad(name: &str, must: &'static str, value: String) -> ConfigError {
    ConfigError::Bad {
        name: name.to_owned(),
        must,
        value,
    }
}
