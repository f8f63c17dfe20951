//! Quarantine.

use async_trait::async_trait;
use clickledger_core::ports::{PortResult, Quarantine, Quarantined};

use super::Held;

/// [`Quarantine`] in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryQuarantine {
    items: Held<Vec<Quarantined>>,
}

impl MemoryQuarantine {
    /// Everything that was put away, in that order.
    pub fn items(&self) -> Vec<Quarantined> {
        self.items.lock().clone()
    }
}

#[async_trait]
impl Quarantine for MemoryQuarantine {
    async fn keep(&self, item: Quarantined) -> PortResult<()> {
        self.items.lock().push(item);
        Ok(())
    }
}
