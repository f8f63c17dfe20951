//! The spill.

use std::collections::BTreeMap;

use async_trait::async_trait;
use clickledger_core::ports::{Outgoing, PortError, PortResult, Spill, Spilled};

use super::Held;

/// [`Spill`] in memory. A receipt is the record's number: it stays valid however often the record is received.
#[derive(Debug, Clone, Default)]
pub struct MemorySpill {
    queue: Held<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    kept: u64,
    /// By number: when it is visible, Unix milliseconds, and what it is.
    waiting: BTreeMap<u64, (i64, Outgoing)>,
}

impl MemorySpill {
    /// How many records wait, hidden or not.
    pub fn len(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every record that waits, hidden or not, the oldest first.
    pub fn records(&self) -> Vec<Outgoing> {
        let queue = self.queue.lock();
        queue.waiting.values().map(|(_, record)| record.clone()).collect()
    }
}

#[async_trait]
impl Spill for MemorySpill {
    async fn keep(&self, record: Outgoing) -> PortResult<()> {
        let mut queue = self.queue.lock();
        queue.kept += 1;
        let number = queue.kept;
        queue.waiting.insert(number, (i64::MIN, record));
        Ok(())
    }

    async fn receive(&self, limit: usize, now_ms: i64, hidden_ms: u64) -> PortResult<Vec<Spilled>> {
        let mut queue = self.queue.lock();
        let visible = queue
            .waiting
            .iter_mut()
            .filter(|(_, (visible_ms, _))| *visible_ms <= now_ms);
        let received = visible.take(limit).map(|(number, (visible_ms, record))| {
            *visible_ms = now_ms.saturating_add_unsigned(hidden_ms);
            Spilled {
                receipt: number.to_string(),
                record: record.clone(),
            }
        });
        Ok(received.collect())
    }

    async fn settled(&self, receipt: &str) -> PortResult<()> {
        let number: u64 = receipt
            .parse()
            .map_err(|_| PortError::rejected(format!("{receipt:?} is no receipt of this spill")))?;
        self.queue.lock().waiting.remove(&number);
        Ok(())
    }
}
