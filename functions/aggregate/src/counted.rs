//! A quarantine that counts what it keeps: an alarm hangs on it.
//!
//! Invariant: only what was kept is counted.

use async_trait::async_trait;
use clickledger_core::metric_names::QUARANTINED;
use clickledger_core::ports::{PortResult, Quarantine, Quarantined};
use metrics::{Counter, counter};

/// A [`Quarantine`] that counts.
pub(crate) struct Counted<Q> {
    quarantine: Q,
    kept: Counter,
}

impl<Q> Counted<Q> {
    /// Around this one; bound to the recorder that is installed now.
    pub(crate) fn new(quarantine: Q) -> Self {
        Self {
            quarantine,
            kept: counter!(QUARANTINED),
        }
    }
}

#[async_trait]
impl<Q: Quarantine> Quarantine for Counted<Q> {
    async fn keep(&self, item: Quarantined) -> PortResult<()> {
        self.quarantine.keep(item).await?;
        self.kept.increment(1);
        Ok(())
    }
}
