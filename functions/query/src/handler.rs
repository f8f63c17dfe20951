//! The routes of metrics, operations, reconciliations, sessions and keys behind the HTTP API, with health and the API's description.
//!
//! Invariant: whatever no route takes is answered with a problem document; the description is of the whole API.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use clickledger_core::domain::ids::AdId;
use clickledger_core::ports::{AdCatalog, Clock};
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::MetricsService;
use clickledger_core::service::operations::OperationsService;
use clickledger_core::service::placements::PlacementsService;
use clickledger_core::service::reconciliations::ReconciliationsService;
use clickledger_http::{
    EdgeConfig, Readiness, Restatements, dashboard_router, document_router, edge, health_router, keys_router,
    operations_router, query_router, reconciliations_router, session_router,
};

/// What the routes work with.
pub(crate) struct Query {
    pub(crate) metrics: MetricsService,
    pub(crate) reconciliations: ReconciliationsService,
    pub(crate) restatements: Arc<dyn Restatements>,
    pub(crate) ads: AdsService,
    pub(crate) placements: PlacementsService,
    pub(crate) keys: KeysService,
    pub(crate) operations: OperationsService,
    pub(crate) catalog: Arc<dyn AdCatalog>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The routes.
pub(crate) fn router(query: Query, config: EdgeConfig) -> Router {
    let config = Arc::new(config);
    let (keys, ads) = (Arc::new(query.keys), Arc::new(query.ads));
    let part = query_router(
        query.metrics,
        Arc::clone(&ads),
        Arc::new(query.placements),
        Arc::clone(&keys),
        Arc::clone(&query.clock),
        Arc::clone(&config),
    )
    .merge(reconciliations_router(
        query.reconciliations,
        query.restatements,
        ads,
        Arc::clone(&keys),
        query.clock,
        Arc::clone(&config),
    ))
    .merge(operations_router(
        query.operations,
        Arc::clone(&keys),
        Arc::clone(&config),
    ))
    .merge(session_router(Arc::clone(&keys), Arc::clone(&config)))
    .merge(keys_router(keys, Arc::clone(&config)))
    .merge(health_router(Arc::new(TablesAnswer(query.catalog))))
    .merge(document_router())
    .merge(dashboard_router());
    edge(part, &config)
}

/// Ready is who gets an answer from the tables.
struct TablesAnswer(Arc<dyn AdCatalog>);

#[async_trait]
impl Readiness for TablesAnswer {
    async fn ready(&self) -> Result<(), String> {
        // No ad has this id. The catalogue keeps "there is none" for seconds, so that asking often costs nothing.
        match self.0.ad(AdId(0)).await {
            Ok(_) => Ok(()),
            Err(_) => Err("the tables do not answer".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
