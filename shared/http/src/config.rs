//! How the edge is set up.

use axum::http::HeaderName;
use clickledger_core::domain::ids::AdvertiserId;

use crate::client::TrustedProxy;

/// The settings of the routers.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Whose word about clients is taken; without one, forwarding and country headers mean nothing.
    pub trusted_proxy: Option<TrustedProxy>,
    /// Where the trusted proxy names the client's country, in two letters.
    pub country_header: HeaderName,
    /// The demo page's access; without it there is no demo page.
    pub demo: Option<Demo>,
    /// What is too large.
    pub limits: Limits,
}

impl Default for EdgeConfig {
    /// No proxy, no demo page, the header that CloudFront sends.
    fn default() -> Self {
        Self {
            trusted_proxy: None,
            country_header: HeaderName::from_static("cloudfront-viewer-country"),
            demo: None,
            limits: Limits::default(),
        }
    }
}

/// What the demo page may see.
#[derive(Clone)]
pub struct Demo {
    /// A read-only key of the demo's advertiser. It is told to whoever asks on the loopback address.
    pub key: String,
    /// The demo's advertiser.
    pub advertiser_id: AdvertiserId,
}

impl std::fmt::Debug for Demo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demo")
            .field("advertiser_id", &self.advertiser_id)
            .finish_non_exhaustive()
    }
}

/// The sizes that requests may have. What is larger is answered with a problem document, as far as the server lets it through
/// to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest path and query, bytes.
    pub uri_bytes: usize,
    /// Longest names and values of all headers together, bytes.
    pub header_bytes: usize,
    /// Longest body, bytes.
    pub body_bytes: usize,
}

impl Default for Limits {
    /// 8 KiB of path and query, 32 KiB of headers, 64 KiB of body.
    fn default() -> Self {
        Self {
            uri_bytes: 8 * 1024,
            header_bytes: 32 * 1024,
            body_bytes: 64 * 1024,
        }
    }
}
