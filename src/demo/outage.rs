//! Ports that refuse at set times: what the demo's outages are made of.
//!
//! Invariant: at every other time they are the ports behind them.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::ports::{ClickStream, Clock, Outgoing, PortError, PortResult, Spill, Spilled};

/// A port, and when it refuses, Unix milliseconds.
pub(super) struct Refusing<P> {
    pub(super) port: P,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) times: Vec<Range<i64>>,
}

impl<P> Refusing<P> {
    fn now(&self) -> PortResult<()> {
        let now_ms = self.clock.now_ms();
        match self.times.iter().any(|time| time.contains(&now_ms)) {
            true => Err(PortError::unavailable("it is an outage of the demo")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl<P: ClickStream> ClickStream for Refusing<P> {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        match self.now() {
            Ok(()) => self.port.publish(records).await,
            Err(error) => records.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

#[async_trait]
impl<P: Spill> Spill for Refusing<P> {
    async fn keep(&self, record: Outgoing) -> PortResult<()> {
        self.now()?;
        self.port.keep(record).await
    }

    async fn receive(&self, limit: usize, now_ms: i64, hidden_ms: u64) -> PortResult<Vec<Spilled>> {
        self.now()?;
        self.port.receive(limit, now_ms, hidden_ms).await
    }

    async fn settled(&self, receipt: &str) -> PortResult<()> {
        self.now()?;
        self.port.settled(receipt).await
    }
}
