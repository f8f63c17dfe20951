//! A Kinesis event to the service: decode, fold, and name the lowest sequence number that could not be finished.
//!
//! Invariant: an event that cannot be decoded fails as a whole: nothing of it is counted, and the mapping keeps it.

use clickledger_core::domain::kinesis_event::{KinesisEvent, KinesisEventError};
use clickledger_core::service::aggregate::{Aggregate, BatchRecord};
use clickledger_lambda::batch::{Batch, BatchAnswer};

/// How long before its deadline a function begins no further sub-batch: one takes some 100 ms, and its writes may be retried.
const MARGIN_MS: i64 = 5_000;

/// Works one event.
///
/// # Errors
/// An event that is none of Kinesis's.
pub(crate) async fn work(aggregate: &Aggregate, batch: &Batch) -> Result<BatchAnswer, KinesisEventError> {
    let event = KinesisEvent::decode(batch.json.get().as_bytes())?;
    let records: Vec<_> = event
        .records()
        .map(|record| BatchRecord {
            sequence_number: record.sequence_number,
            arrived_at_ms: record.arrived_at_ms,
            data: record.data,
        })
        .collect();
    let deadline_ms = batch.deadline_ms.saturating_sub(MARGIN_MS);
    let failed = aggregate.run(event.shard_id(), &records, Some(deadline_ms)).await;
    Ok(failed.map(|number| number.to_string()).into_iter().collect())
}

#[cfg(test)]
mod tests;
