//! The hours' states under faults.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortResult, SealStore};

super::wrapper!(
    /// [`SealStore`] under faults.
    FaultySeals, SealStore
);

#[async_trait]
impl SealStore for FaultySeals {
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()> {
        let (port, hours) = (Arc::clone(&self.port), hours.to_vec());
        self.faults
            .write(async move { port.mark_dirty(&hours).await })
            .await
    }

    async fn mark_quarantined(&self, hour: Hour) -> PortResult<()> {
        let port = Arc::clone(&self.port);
        self.faults
            .write(async move { port.mark_quarantined(hour).await })
            .await
    }

    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>> {
        self.faults.read(self.port.dirty(from, to)).await
    }
}
