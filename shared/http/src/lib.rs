//! HTTP routers over the services: the same router runs in Lambda and in `serve`.
//!
//! [`router`] is all of it. Each of its parts ([`click_router`], [`placement_router`], [`query_router`], [`keys_router`],
//! [`health_router`], [`demo_router`]) can be served alone: [`edge`] makes a part a whole.
//!
//! Invariant: every answer that is an error is a problem document (RFC 9457), also where no handler is reached or one panics;
//! a click's destination comes from its ad alone.

mod click;
mod client;
mod config;
mod counters;
mod edge;
mod health;
mod openapi;
mod problem;
mod request_body;

use std::sync::Arc;

use axum::Router;
use clickledger_core::ports::Clock;
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::click::ClickService;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::MetricsService;
use clickledger_core::service::placements::PlacementsService;

pub use click::click_router;
pub use client::{Forwarding, ProxySecret, TrustedProxy};
pub use config::{Demo, EdgeConfig, Limits};
pub use counters::names;
pub use edge::edge;
pub use health::{Readiness, health_router};
pub use problem::{Kind, Problem};

/// The services behind the routes.
#[derive(Clone)]
pub struct Services {
    /// Judges and records clicks.
    pub click: Arc<ClickService>,
    /// Ads.
    pub ads: Arc<AdsService>,
    /// Placements and impressions.
    pub placements: Arc<PlacementsService>,
    /// API keys: who a caller is.
    pub keys: Arc<KeysService>,
    /// Counts.
    pub metrics: MetricsService,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Whether requests can be served.
    pub ready: Arc<dyn Readiness>,
}

/// Every route, as one router. Counters are bound to the recorder of the crate `metrics` that is installed when this is
/// called.
///
/// The client's address is asked of `ConnectInfo<SocketAddr>` (`into_make_service_with_connect_info`) and, from a trusted proxy,
/// of its headers.
pub fn router(services: Services, config: EdgeConfig) -> Router {
    let config = Arc::new(config);
    let Services {
        click,
        ads: _,
        placements: _,
        keys: _,
        metrics: _,
        clock: _,
        ready,
    } = services;
    let api = openapi::document_router()
        .merge(click_router(click, Arc::clone(&config)))
        .merge(health_router(ready));
    edge(openapi::with_document(api), &config)
}
