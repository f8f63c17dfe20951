//! Settings: from flags, the environment and a TOML file, in this order; read once, at start.
//!
//! Invariant: nothing else reads the environment, and no bad setting is passed over: the error names the setting, where it
//! came from, and what it must be. Secrets are never shown, and have no flags, because every process can see those.

mod sources;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::http::HeaderName;
use clap::Args;
use clickledger_core::domain::api_key::PresentedKey;
use clickledger_core::service::rate_limit::RateLimits;
use clickledger_embedded::OpenOptions;
use clickledger_http::{Forwarding, ProxySecret, TrustedProxy};
use url::Url;

use self::sources::Sources;
pub(crate) use self::sources::{BadFile, BadSetting};
use crate::parse;

/// The server that a client command talks to, and the key that it brings.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// The server's URL
    #[arg(
        long,
        value_name = "URL",
        env = "CLICKLEDGER_TARGET",
        default_value = "http://127.0.0.1:8080"
    )]
    target: String,
    /// An API key, clk_…; better in the environment, where other users cannot see it
    #[arg(long, value_name = "KEY", env = "CLICKLEDGER_KEY", hide_env_values = true)]
    key: Option<String>,
}

impl TargetArgs {
    /// The server's URL, with a slash at its end.
    pub(crate) fn url(&self) -> Result<Url> {
        let must_be = "the target must be a URL such as http://127.0.0.1:8080";
        let mut url = Url::parse(&self.target).context(must_be)?;
        anyhow::ensure!(matches!(url.scheme(), "http" | "https"), must_be);
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(url)
    }

    /// The key.
    pub(crate) fn key(&self) -> Result<&str> {
        let key = self.key.as_deref().filter(|key| !key.is_empty()).context(
            "an API key is needed: give it with --key or in CLICKLEDGER_KEY (serve prints one at its first start)",
        )?;
        anyhow::ensure!(
            key.parse::<PresentedKey>().is_ok(),
            "the key must have the form clk_<key id>_<secret>"
        );
        Ok(key)
    }
}

/// The flags of `serve`. What is not given comes from the environment, the file, or has a default.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8080; CLICKLEDGER_LISTEN, listen]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Folder of everything that is kept [default: ./clickledger-data; CLICKLEDGER_DATA, data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Shards of the click stream, 1 to 1024; another number than before is a reshard [default: 2; CLICKLEDGER_SHARDS,
    /// shards]
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// Most connections at a time [default: 10000; CLICKLEDGER_MAX_CONNECTIONS, max_connections]
    #[arg(long, value_name = "N")]
    max_connections: Option<String>,
    /// How many proxies stand in front, 1 to 16; needs the secret that the last of them sends, in
    /// CLICKLEDGER_PROXY_SECRET [default: none; CLICKLEDGER_PROXY_HOPS, proxy_hops]
    #[arg(long, value_name = "N")]
    proxy_hops: Option<String>,
    /// How often hours that are over are looked for, to be proved and sealed, such as 1m; or off [default: 1m;
    /// CLICKLEDGER_RECONCILE_EVERY, reconcile_every]
    #[arg(long, value_name = "TIME")]
    reconcile_every: Option<String>,
    /// Age at which the raw clicks of an hour are made one Parquet file, such as 2d; or off [default: 2d;
    /// CLICKLEDGER_COMPACT_AFTER, compact_after]
    #[arg(long, value_name = "TIME")]
    compact_after: Option<String>,
    /// Age at which a sealed hour is closed, so that what is found later is owed as an adjustment, such as 35d; or off
    /// [default: 35d; CLICKLEDGER_CLOSE_AFTER, close_after]
    #[arg(long, value_name = "TIME")]
    close_after: Option<String>,
    /// json or text, on standard error [default: json; CLICKLEDGER_LOG_FORMAT, log_format]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged: error, warn, info, debug, or a filter such as clickledger=debug,info [default: info;
    /// CLICKLEDGER_LOG, log]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// TOML file with settings, named as in the brackets above, after the semicolon (CLICKLEDGER_CONFIG)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Everything that `serve` can be told.
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) shards: u32,
    pub(crate) max_connections: usize,
    /// The proxies in front: what they forward is believed if the secret comes with it.
    pub(crate) proxy: Option<TrustedProxy>,
    /// Where they name the client's country.
    pub(crate) country_header: Option<HeaderName>,
    pub(crate) admin_key: Option<PresentedKey>,
    /// How often keys may ask.
    pub(crate) rate_limits: RateLimits,
    /// How often sealing is due; `None`: never.
    pub(crate) reconcile_every: Option<Duration>,
    /// Age at which an hour of the lake is compacted; `None`: never.
    pub(crate) compact_after: Option<Duration>,
    /// Age at which a sealed hour is closed; `None`: never.
    pub(crate) close_after: Option<Duration>,
    pub(crate) log_format: LogFormat,
    pub(crate) log: String,
}

/// Settings of which one needs the other.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Half {
    #[error(
        "the setting proxy_hops needs proxy_secret: set CLICKLEDGER_PROXY_SECRET, or anybody could forge what a proxy \
         forwards"
    )]
    NoSecret,
    #[error(
        "the setting proxy_secret needs proxy_hops: set CLICKLEDGER_PROXY_HOPS to the number of proxies in front"
    )]
    NoHops,
}

/// Looking for hours to seal where there are none costs a few reads.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);
/// By then whatever is sealed by the clock was sealed: it is read once more only where something came late.
const COMPACT_AFTER: Duration = Duration::from_hours(48);
/// A month's bill and some days for who doubts it.
const CLOSE_AFTER: Duration = Duration::from_hours(35 * 24);
/// What a length of time must be.
const LENGTH: &str = "a length of time such as 30s, 1m or 1h, or off";

/// A length of time, or none.
fn length_or_off(text: &str) -> Option<Option<Duration>> {
    match text {
        "off" => Some(None),
        text => parse::duration(text).ok().map(Some),
    }
}

/// Where a proxy sends its secret, unless told otherwise.
const PROXY_SECRET_HEADER: HeaderName = HeaderName::from_static("x-clickledger-proxy-secret");

fn between<N: std::str::FromStr + PartialOrd>(least: N, most: N) -> impl Fn(&str) -> Option<N> {
    move |text| text.parse().ok().filter(|n| (&least..=&most).contains(&n))
}

impl Config {
    /// Reads every setting.
    ///
    /// # Errors
    /// [`BadSetting`], [`BadFile`]
    // The one place where `serve` reads the environment.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn load(args: &ServeArgs) -> Result<Self> {
        Self::from_sources(args, |name| std::env::var_os(name))
    }

    fn from_sources(args: &ServeArgs, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let sources = Sources::of(args, environment)?;
        let proxy = proxy(&sources)?;
        let country_header =
            sources.get("country_header", "the name of a header", |text| text.parse().ok())?;
        Ok(Self {
            listen: sources
                .get(
                    "listen",
                    "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080",
                    |text| text.parse().ok(),
                )?
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            data: sources
                .get("data", "a folder", |text| {
                    (!text.is_empty()).then(|| PathBuf::from(text))
                })?
                .unwrap_or_else(|| "./clickledger-data".into()),
            shards: sources
                .get(
                    "shards",
                    "a whole number from 1 to 1024",
                    between(1, OpenOptions::MAX_SHARDS),
                )?
                .unwrap_or(2),
            max_connections: sources
                .get(
                    "max_connections",
                    "a whole number from 1 to 1000000",
                    between(1, 1_000_000),
                )?
                .unwrap_or(10_000),
            admin_key: sources.get("admin_key", "a key of the form clk_<key id>_<secret>", |text| {
                text.parse().ok()
            })?,
            reconcile_every: sources
                .get("reconcile_every", LENGTH, length_or_off)?
                .unwrap_or(Some(RECONCILE_EVERY)),
            compact_after: sources
                .get("compact_after", LENGTH, length_or_off)?
                .unwrap_or(Some(COMPACT_AFTER)),
            close_after: sources
                .get("close_after", LENGTH, length_or_off)?
                .unwrap_or(Some(CLOSE_AFTER)),
            log_format: sources
                .get("log_format", "json or text", |text| match text {
                    "json" => Some(LogFormat::Json),
                    "text" => Some(LogFormat::Text),
                    _ => None,
                })?
                .unwrap_or(LogFormat::Json),
            log: sources
                .get(
                    "log",
                    "error, warn, info, debug or a filter such as clickledger=debug,info",
                    |text| {
                        tracing_subscriber::EnvFilter::try_new(text)
                            .is_ok()
                            .then(|| text.to_owned())
                    },
                )?
                .unwrap_or_else(|| "info".to_owned()),
            rate_limits: rate_limits(&sources)?,
            proxy,
            country_header,
        })
    }
}

fn rate_limits(sources: &Sources) -> Result<RateLimits, BadSetting> {
    let usual = RateLimits::default();
    let limit = |name| {
        sources.get(
            name,
            "how many requests a key may make each minute, 1 to 1000000",
            |text| between(1, 1_000_000)(text).and_then(NonZeroU32::new),
        )
    };
    Ok(RateLimits {
        key: limit("rate_limit")?.unwrap_or(usual.key),
        admin: limit("admin_rate_limit")?.unwrap_or(usual.admin),
        ..usual
    })
}

fn proxy(sources: &Sources) -> Result<Option<TrustedProxy>> {
    let hops = sources.get(
        "proxy_hops",
        "the number of proxies in front, 1 to 16",
        between(1, 16),
    )?;
    let secret = sources.get(
        "proxy_secret",
        "the proxy's secret, 16 to 256 printable characters without spaces",
        |text| {
            let good = text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic());
            good.then(|| ProxySecret::new(text)).flatten()
        },
    )?;
    let secret_header = sources.get("proxy_secret_header", "the name of a header", |text| {
        text.parse().ok()
    })?;
    let forwarding = sources.get(
        "proxy_forwarding",
        "the header that lists addresses: x-forwarded-for or forwarded",
        |text| match text {
            "x-forwarded-for" => Some(Forwarding::XForwardedFor),
            "forwarded" => Some(Forwarding::Forwarded),
            _ => None,
        },
    )?;
    match (hops, secret) {
        (Some(hops), Some(secret)) => Ok(Some(TrustedProxy {
            hops,
            secret_header: secret_header.unwrap_or(PROXY_SECRET_HEADER),
            secret,
            forwarding: forwarding.unwrap_or_default(),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Half::NoSecret.into()),
        (None, Some(_)) => Err(Half::NoHops.into()),
    }
}

#[cfg(test)]
mod tests;
