//! Quarantine under faults.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::ports::{PortResult, Quarantine, Quarantined};

super::wrapper!(
    /// [`Quarantine`] under faults. With `twice` an item is kept twice.
    FaultyQuarantine, Quarantine
);

#[async_trait]
impl Quarantine for FaultyQuarantine {
    async fn keep(&self, item: Quarantined) -> PortResult<()> {
        let (port, faults) = (Arc::clone(&self.port), self.faults.clone());
        let effect = async move {
            port.keep(item.clone()).await?;
            if faults.is_twice() {
                drop(port.keep(item).await);
            }
            Ok(())
        };
        self.faults.write(effect).await
    }
}
