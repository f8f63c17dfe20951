//! Claims under faults.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::ports::{Claim, ClaimStore, Claimed, PortResult};

super::wrapper!(
    /// [`ClaimStore`] under faults. A late claim is judged by the time that its caller gave.
    FaultyClaims, ClaimStore
);

#[async_trait]
impl ClaimStore for FaultyClaims {
    async fn claim(&self, claim: Claim, now_ms: i64) -> PortResult<Claimed> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.claim(claim, now_ms).await })
            .await
    }

    async fn purge(&self, now_ms: i64, limit: usize) -> PortResult<usize> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.purge(now_ms, limit).await })
            .await
    }
}
