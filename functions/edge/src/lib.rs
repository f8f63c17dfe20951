//! What the functions behind the HTTP API share: what their environment says about clients, proxies and limits, and what they
//! load again while they serve.
//!
//! Invariant: no proxy is trusted unless both its hops and its secret are given.

mod fresh;

use std::num::NonZeroU32;

use axum::http::HeaderName;
use clickledger_aws::{Aws, Patience};
use clickledger_core::ports::PortError;
use clickledger_core::service::rate_limit::RateLimits;
use clickledger_http::{EdgeConfig, Forwarding, ProxySecret, TrustedProxy};
use clickledger_lambda::config::{self, ConfigError};

pub use fresh::{with_fresh_snapshot, with_fresh_token_keys};

const HOPS: &str = "CLICKLEDGER_PROXY_HOPS";
const SECRET: &str = "CLICKLEDGER_PROXY_SECRET_ARN";
const COUNTRY: &str = "CLICKLEDGER_COUNTRY_HEADER";
const KEY_LIMIT: &str = "CLICKLEDGER_RATE_LIMIT";
const ADMIN_LIMIT: &str = "CLICKLEDGER_ADMIN_RATE_LIMIT";
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

/// How often keys may ask, of each environment of a function by itself.
///
/// # Errors
/// A variable is bad.
pub fn rate_limits() -> Result<RateLimits, ConfigError> {
    let limit = |name: &str, usual| match config::number(name)? {
        None => Ok(usual),
        Some(number) => u32::try_from(number)
            .ok()
            .and_then(NonZeroU32::new)
            .ok_or_else(|| {
                bad(
                    name,
                    "a number of requests a minute, at least 1",
                    number.to_string(),
                )
            }),
    };
    let usual = RateLimits::default();
    Ok(RateLimits {
        key: limit(KEY_LIMIT, usual.key)?,
        admin: limit(ADMIN_LIMIT, usual.admin)?,
        ..usual
    })
}

fn bad(name: &str, must: &'static str, value: String) -> ConfigError {
    ConfigError::Bad {
        name: name.to_owned(),
        must,
        value,
    }
}
