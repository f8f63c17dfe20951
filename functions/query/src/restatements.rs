//! Restatements, made by the function `reconcile`.
//!
//! Invariant: what was accepted is with Lambda, which calls the function until it was worked or failed three times.

use async_trait::async_trait;
use clickledger_aws::ReconcileRuns;
use clickledger_core::ports::PortResult;
use clickledger_core::service::reconcile::Restatement;
use clickledger_http::Restatements;

/// Has the function do it.
pub(crate) struct ByFunction(pub(crate) ReconcileRuns);

#[async_trait]
impl Restatements for ByFunction {
    async fn start(&self, order: Restatement) -> PortResult<()> {
        self.0.restate(&order).await
    }
}
