//! A Kinesis event to the service: decode, fold, and name the lowest sequence number that could not be finished.
//!
//! Invariant: an event that cannot be decoded fails as a whole: nothing of it is counted, and the mapping keeps it.

use clickledger_core::domain::kinesis_event::{KinesisEvent, KinesisEventError};
use clickledger_core::metric_names::COUNT_DELAY;
use clickledger_core::ports::Clock;
use clickledger_core::service::aggregate::{Aggregate, BatchRecord};
use clickledger_core::service::delays::sampled;
use clickledger_lambda::batch::{Batch, BatchAnswer};
use metrics::histogram;

/// How long before its deadline a function begins no further sub-batch: one takes some 100 ms, and its writes may be retried.
const MARGIN_MS: i64 = 5_000;

/// Clicks of a batch whose delay is measured: what CloudWatch takes at once is 100 values, of all batches of a second.
const SAMPLES: usize = 4;

/// Works one event.
///
/// # Errors
/// An event that is none of Kinesis's.
pub(crate) async fn work(
    aggregate: &Aggregate,
    clock: &dyn Clock,
    batch: &Batch,
) -> Result<BatchAnswer, KinesisEventError> {
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
    let counted = records.partition_point(|record| failed.is_none_or(|at| record.sequence_number < at));
    let delays = sampled(&records[..counted], SAMPLES, |record| record.data, clock.now_ms());
    for (delay_ms, _) in delays {
        histogram!(COUNT_DELAY).record(delay_ms.max(0) as f64);
    }
    Ok(failed.map(|number| number.to_string()).into_iter().collect())
}

#[cfg(test)]
mod tests;
