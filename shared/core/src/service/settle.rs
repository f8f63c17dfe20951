//! Settle: puts spilled clicks back on the stream.
//!
//! Invariant: a record is put with the partition key that it was first put with, so that a copy whose put was applied though
//! its answer was lost lies before it on the same shard (or its descendants); it leaves the spill only after a put that
//! was acknowledged.

use std::sync::Arc;

use crate::domain::mutation::{Broken, Mutation};
use crate::domain::partition;
use crate::domain::record::ClickRecord;
use crate::ports::{AdCatalog, ClickStream, Clock, PortResult, Spill, Spilled};

/// The ports of [`Settle`].
#[derive(Clone)]
pub struct SettlePorts {
    /// Where spilled clicks wait.
    pub spill: Arc<dyn Spill>,
    /// Where they go.
    pub stream: Arc<dyn ClickStream>,
    /// Only a broken rule asks it (see [`Broken::SaltRecomputed`]).
    pub catalog: Arc<dyn AdCatalog>,
    /// By which receipts run out.
    pub clock: Arc<dyn Clock>,
}

/// What one round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Records that are on the stream now.
    pub published: usize,
    /// Records that wait on.
    pub waiting: usize,
}

/// Puts spilled clicks back on the stream.
pub struct Settle {
    ports: SettlePorts,
    mutation: Mutation,
}

/// A receipt runs out after this time: a settler that died gives its records back.
const HIDDEN_MS: u64 = 60_000;

impl Settle {
    /// A settler over these ports.
    pub fn new(ports: SettlePorts, mutation: Mutation) -> Self {
        Self { ports, mutation }
    }

    /// Receives up to `limit` records and publishes them.
    ///
    /// # Errors
    /// Where the spill does not answer. What was published but not yet taken out of it comes again, as a repeat.
    pub async fn round(&self, limit: usize) -> PortResult<Settled> {
        let received = self
            .ports
            .spill
            .receive(limit, self.ports.clock.now_ms(), HIDDEN_MS)
            .await?;
        let settled = self.settle(&received).await;
        let published = settled.iter().filter(|outcome| outcome.is_ok()).count();
        for (spilled, _) in received
            .iter()
            .zip(&settled)
            .filter(|(_, outcome)| outcome.is_ok())
        {
            self.ports.spill.settled(&spilled.receipt).await?;
        }
        Ok(Settled {
            published,
            waiting: received.len() - published,
        })
    }

    /// Publishes records that were received elsewhere (a queue's trigger); the outcomes are in their order.
    pub async fn settle(&self, received: &[Spilled]) -> Vec<PortResult<()>> {
        if received.is_empty() {
            return Vec::new();
        }
        let mut records: Vec<_> = received.iter().map(|spilled| spilled.record.clone()).collect();
        if self.mutation.is(Broken::SaltRecomputed) {
            for record in &mut records {
                if let Ok(click) = serde_json::from_slice::<ClickRecord>(&record.data)
                    && !record.partition_key.starts_with('x')
                    && let Some(impression_id) = click.impression_id
                    && let Ok(Some(ad)) = self.ports.catalog.ad(click.ad_id).await
                {
                    record.partition_key = partition::of_impression(ad.ad_id, impression_id, ad.fan_out);
                }
            }
        }
        self.ports.stream.publish(records).await
    }
}
