//! An SQS event to the service: read the messages, put their records on the stream, name what is to come again.
//!
//! Invariant: a message that is not named as failed was acknowledged by the stream.

use clickledger_aws::SpillQueue;
use clickledger_core::metric_names::SETTLED;
use clickledger_core::ports::Spilled;
use clickledger_core::service::settle::Settle;
use clickledger_lambda::batch::{Batch, BatchAnswer};
use metrics::counter;
use serde::Deserialize;

#[derive(Deserialize)]
struct SqsEvent {
    #[serde(rename = "Records")]
    records: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    receipt_handle: String,
    body: String,
}

/// Works one event.
///
/// # Errors
/// An event that is none of SQS's.
pub(crate) async fn work(settle: &Settle, batch: &Batch) -> Result<BatchAnswer, serde_json::Error> {
    let event: SqsEvent = serde_json::from_str(batch.json.get())?;
    let mut failed = Vec::new();
    let mut ids = Vec::with_capacity(event.records.len());
    let mut spilled = Vec::with_capacity(event.records.len());
    for message in event.records {
        match SpillQueue::record(&message.body) {
            Ok(record) => {
                ids.push(message.message_id);
                spilled.push(Spilled {
                    receipt: message.receipt_handle,
                    record,
                });
            }
            // Not ours: it comes again until the queue's redrive policy takes it to the dead letters, where somebody looks.
            Err(error) => {
                tracing::error!(message_id = %message.message_id, %error, "a message of the spill could not be read");
                failed.push(message.message_id);
            }
        }
    }
    let outcomes = settle.settle(&spilled).await;
    let mut refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    if let Some(error) = refused.next_back() {
        tracing::warn!(%error, "clicks stay in the spill");
    }
    let mut settled = 0;
    let mut outcomes = outcomes.into_iter();
    for id in ids {
        // A message without an outcome was not acknowledged either.
        match outcomes.next() {
            Some(Ok(())) => settled += 1,
            _ => failed.push(id),
        }
    }
    counter!(SETTLED).increment(settled);
    Ok(failed.into_iter().collect())
}

#[cfg(test)]
mod tests;
