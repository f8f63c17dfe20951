//! The spill under faults.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clickledger_core::ports::{Outgoing, PortResult, Spill, Spilled};

use super::Faults;

/// [`Spill`] under faults. With `twice` a received record comes once more, although it is hidden or even settled by then.
#[derive(Clone)]
pub struct FaultySpill {
    port: Arc<dyn Spill>,
    faults: Faults,
    again: Arc<Mutex<VecDeque<Spilled>>>,
}

impl FaultySpill {
    /// The port under these faults.
    pub fn new(port: Arc<dyn Spill>, faults: Faults) -> Self {
        Self {
            port,
            faults,
            again: Arc::default(),
        }
    }
}

#[async_trait]
impl Spill for FaultySpill {
    async fn keep(&self, record: Outgoing) -> PortResult<()> {
        let port = Arc::clone(&self.port);
        self.faults.write(async move { port.keep(record).await }).await
    }

    async fn receive(&self, limit: usize, now_ms: i64, hidden_ms: u64) -> PortResult<Vec<Spilled>> {
        let port = Arc::clone(&self.port);
        let effect = async move { port.receive(limit, now_ms, hidden_ms).await };
        let mut received = self.faults.write(effect).await?;
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        let room = limit.saturating_sub(received.len()).min(again.len());
        let repeated: Vec<Spilled> = again.drain(..room).collect();
        again.extend(received.iter().filter(|_| self.faults.is_twice()).cloned());
        received.extend(repeated);
        Ok(received)
    }

    async fn settled(&self, receipt: &str) -> PortResult<()> {
        let (port, receipt) = (Arc::clone(&self.port), receipt.to_owned());
        self.faults
            .write(async move { port.settled(&receipt).await })
            .await
    }
}
