//! The hours' states: so far, which ones are dirty.

use std::collections::BTreeSet;

use async_trait::async_trait;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortResult, SealStore};

use super::Held;

/// [`SealStore`] in memory.
#[derive(Debug, Clone, Default)]
pub struct MemorySeals {
    dirty: Held<BTreeSet<Hour>>,
}

impl MemorySeals {
    /// Every dirty hour, in order.
    pub fn all_dirty(&self) -> Vec<Hour> {
        self.dirty.lock().iter().copied().collect()
    }

    /// Whether this hour is dirty.
    pub fn is_dirty(&self, hour: Hour) -> bool {
        self.dirty.lock().contains(&hour)
    }
}

#[async_trait]
impl SealStore for MemorySeals {
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()> {
        self.dirty.lock().extend(hours);
        Ok(())
    }

    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>> {
        let dirty = self.dirty.lock();
        Ok(dirty
            .iter()
            .copied()
            .filter(|hour| (from..to).contains(hour))
            .collect())
    }
}
