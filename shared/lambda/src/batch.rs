//! Batches of a stream or a queue, of which a function may finish a part.
//!
//! Invariant: what is not named in the answer counts as done, so a function that cannot say what it has done must fail as a
//! whole.

use std::future::Future;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::telemetry::Telemetry;

/// The answer of a function whose mapping says `ReportBatchItemFailures`. For a stream the lowest sequence number named is
/// where the next batch begins; of a queue those named are delivered again.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl FromIterator<String> for BatchAnswer {
    /// What could not be finished: sequence numbers, or message ids.
    fn from_iter<I: IntoIterator<Item = String>>(failed: I) -> Self {
        let failures = failed
            .into_iter()
            .map(|item_identifier| Failure { item_identifier });
        Self {
            batch_item_failures: failures.collect(),
        }
    }
}

/// One invocation.
#[derive(Debug)]
pub struct Batch {
    /// The event's JSON, as it came.
    pub json: Box<RawValue>,
    /// When the function is ended, Unix milliseconds.
    pub deadline_ms: i64,
}

/// Runs the function, one batch at a time. An `Err` fails the whole batch.
///
/// # Errors
/// The runtime's.
pub async fn run<F, R, E>(work: F, telemetry: Telemetry) -> Result<(), lambda_runtime::Error>
where
    F: Fn(Batch) -> R + Send + Sync + 'static,
    R: Future<Output = Result<BatchAnswer, E>> + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    let work = &work;
    let one = move |event: LambdaEvent<Box<RawValue>>| async move {
        let batch = Batch {
            deadline_ms: i64::try_from(event.context.deadline).unwrap_or(i64::MAX),
            json: event.payload,
        };
        let answer = work(batch).await;
        telemetry.invocation_done();
        answer.map_err(lambda_runtime::Error::from)
    };
    lambda_runtime::run(service_fn(one)).await
}

/// Runs a function that a schedule calls, one event at a time: there is nothing to answer. An `Err` is a failed invocation.
///
/// # Errors
/// The runtime's.
pub async fn run_scheduled<F, R, E>(work: F, telemetry: Telemetry) -> Result<(), lambda_runtime::Error>
where
    F: Fn(Batch) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), E>> + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    let work = &work;
    let one = move |event: LambdaEvent<Box<RawValue>>| async move {
        let batch = Batch {
            deadline_ms: i64::try_from(event.context.deadline).unwrap_or(i64::MAX),
            json: event.payload,
        };
        let done = work(batch).await;
        telemetry.invocation_done();
        done.map_err(lambda_runtime::Error::from)
    };
    lambda_runtime::run(service_fn(one)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_named_as_the_mapping_reads_it() {
        let text = |failed: &[&str]| {
            let answer: BatchAnswer = failed.iter().map(|id| (*id).to_owned()).collect();
            serde_json::to_string(&answer).unwrap()
        };
        assert_eq!(text(&[]), r#"{"batchItemFailures":[]}"#);
        assert_eq!(
            text(&["49"]),
            r#"{"batchItemFailures":[{"itemIdentifier":"49"}]}"#
        );
    }
}
