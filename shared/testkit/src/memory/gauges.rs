//! Gauges of the spill and the quarantine in memory.

use async_trait::async_trait;
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::ports::{Backlog, Gauges, PortResult};

use super::{MemoryQuarantine, MemorySpill};

/// [`Gauges`] of these.
#[derive(Debug, Clone, Default)]
pub struct MemoryGauges {
    /// The spill.
    pub spill: MemorySpill,
    /// The quarantine.
    pub quarantine: MemoryQuarantine,
}

#[async_trait]
impl Gauges for MemoryGauges {
    async fn spill(&self) -> PortResult<Backlog> {
        let waiting = self.spill.records();
        let oldest = waiting.first();
        let click = oldest.and_then(|record| serde_json::from_slice::<ClickRecord>(&record.data).ok());
        Ok(Backlog {
            waiting: waiting.len() as u64,
            oldest_ms: click.map(|click| click.clicked_at_ms),
        })
    }

    async fn quarantined(&self, from_ms: i64, to_ms: i64, most: u64) -> PortResult<u64> {
        let items = self.quarantine.items();
        let found = items
            .iter()
            .filter(|item| (from_ms..=to_ms).contains(&item.arrived_at_ms));
        Ok((found.count() as u64).min(most))
    }
}
