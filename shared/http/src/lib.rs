//! HTTP routers over the services: the same router runs in Lambda and in `serve`.
//!
//! [`router`] is all of it. Each of its parts ([`click_router`], [`placement_router`], [`query_router`], [`keys_router`],
//! [`session_router`], [`reconciliations_router`], [`operations_router`], [`health_router`], [`document_router`],
//! [`dashboard_router`], [`demo_router`]) can be served alone: [`edge()`] makes a part a whole.
//!
//! Invariant: every answer that is an error is a problem document (RFC 9457), also where no handler is reached or one panics;
//! a click's destination comes from its ad alone.

mod accept;
mod ads;
mod assets;
mod auth;
mod click;
mod client;
mod config;
mod corrections;
mod counters;
mod counts;
mod counts_answer;
mod counts_batch;
mod counts_query;
mod counts_schema;
mod counts_words;
mod dashboard;
mod demo;
mod edge;
mod fragment;
mod health;
mod keys;
mod openapi;
mod openapi_complete;
mod openapi_page;
mod operations;
mod owners;
mod params;
mod placements;
mod problem;
mod reconciliations;
mod reconciliations_schema;
mod request_body;
mod restatements;
mod same_origin;
mod session;
mod standing;
mod to_the_end;
mod version;

use std::sync::Arc;

use axum::Router;
use clickledger_core::ports::Clock;
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::click::ClickService;
use clickledger_core::service::impressions::ImpressionsService;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::MetricsService;
use clickledger_core::service::operations::OperationsService;
use clickledger_core::service::placements::PlacementsService;
use clickledger_core::service::reconciliations::ReconciliationsService;

pub use click::click_router;
pub use client::{Forwarding, ProxySecret, TrustedProxy};
pub use config::{Demo, EdgeConfig, Limits};
pub use counts::query_router;
pub use dashboard::dashboard_router;
pub use demo::demo_router;
pub use edge::edge;
pub use health::{Readiness, health_router};
pub use keys::keys_router;
pub use openapi::{description, document_router};
pub use operations::operations_router;
pub use placements::placement_router;
pub use problem::{Kind, Problem};
pub use reconciliations::reconciliations_router;
pub use reconciliations_schema::ReportView;
pub use restatements::Restatements;
pub use session::session_router;

/// The services behind the routes.
#[derive(Clone)]
pub struct Services {
    /// Judges and records clicks.
    pub click: Arc<ClickService>,
    /// Ads.
    pub ads: Arc<AdsService>,
    /// Placements.
    pub placements: Arc<PlacementsService>,
    /// What fills them.
    pub impressions: Arc<ImpressionsService>,
    /// API keys: who a caller is.
    pub keys: Arc<KeysService>,
    /// Counts.
    pub metrics: MetricsService,
    /// What sealing found and changed.
    pub reconciliations: ReconciliationsService,
    /// Recounting past ranges.
    pub restatements: Arc<dyn Restatements>,
    /// How the whole stands.
    pub operations: OperationsService,
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
    let demo = config.demo.clone();
    let shared = || Arc::clone(&config);
    let Services {
        click,
        ads,
        placements,
        impressions,
        keys,
        metrics,
        reconciliations,
        restatements,
        operations,
        clock,
        ready,
    } = services;
    let mut api = document_router()
        .merge(dashboard_router())
        .merge(click_router(click, shared()))
        .merge(placement_router(
            Arc::clone(&ads),
            Arc::clone(&placements),
            impressions,
            Arc::clone(&keys),
            shared(),
        ))
        .merge(query_router(
            metrics,
            Arc::clone(&ads),
            placements,
            Arc::clone(&keys),
            Arc::clone(&clock),
            shared(),
        ))
        .merge(reconciliations_router(
            reconciliations,
            restatements,
            ads,
            Arc::clone(&keys),
            clock,
            shared(),
        ))
        .merge(operations_router(operations, Arc::clone(&keys), shared()))
        .merge(session_router(Arc::clone(&keys), shared()))
        .merge(keys_router(keys, shared()))
        .merge(health_router(ready));
    if let Some(demo) = demo {
        api = api.merge(demo_router(demo));
    }
    edge(api, &config)
}
