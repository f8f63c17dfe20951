//! What CloudWatch keeps of the stack's own measurements.
//!
//! Invariant: asking often costs no more than asking once a minute, which is how often there is anything new.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use clickledger_core::domain::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use clickledger_core::metric_names::{COUNT_DELAY, LAST_RESORT_RECORDS};
use clickledger_core::ports::{DelayMs, Measured, Measurements, PortError, PortResult};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::patience::Patience;
use crate::signed::{Operation, Signed};

const GET: Operation = Operation {
    target: "GraniteServiceVersion20100801.GetMetricData",
    content: "application/x-amz-json-1.0",
};
/// What the delay's quantiles are taken over. CloudWatch cuts time at multiples of it; the newest piece that has values is told.
const DELAY_MS: i64 = 5 * MINUTE_MS;
/// How far back a value may lie that is told as the newest: SQS's come some minutes late.
const NEWEST_MS: i64 = 2 * DELAY_MS;
/// For how long an answer is given again.
const KEPT_MS: i64 = MINUTE_MS;

/// The [`Measurements`] of a stack.
pub struct StackMeasurements {
    client: Signed,
    namespace: String,
    queue: String,
    patience: Patience,
    last: Mutex<Option<(i64, Measured)>>,
}

impl Aws {
    /// The measurements that the stack's functions write into this namespace of CloudWatch.
    ///
    /// # Errors
    /// The queue's URL is missing, or there is no region.
    pub async fn measurements(
        &self,
        namespace: String,
        patience: Patience,
    ) -> Result<StackMeasurements, ConfigError> {
        let url = self.name(Resource::SpillQueue)?;
        Ok(StackMeasurements {
            client: self.signed("monitoring").await?,
            namespace,
            queue: url.rsplit('/').next().unwrap_or_default().to_owned(),
            patience,
            last: Mutex::default(),
        })
    }
}

/// A part of GetMetricData's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    metric_data_results: Vec<Series>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Series {
    id: String,
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
}

impl Series {
    /// The newest value that is no older than this (Unix milliseconds).
    fn newest(&self, since_ms: i64) -> Option<u64> {
        let of_values = self.timestamps.iter().zip(&self.values);
        of_values
            .filter(|(at, _)| **at * 1e3 >= since_ms as f64)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, value)| value.round() as u64)
    }
}

impl StackMeasurements {
    /// Asks for a day: the newest values are picked out of it, so that one call does.
    fn question(&self, now_ms: i64) -> Value {
        let service = |name| json!([{ "Name": "service", "Value": name }]);
        let stat = |id, namespace: &str, metric, dimensions: Value, period_ms: i64, stat| {
            let metric = json!({ "Namespace": namespace, "MetricName": metric, "Dimensions": dimensions });
            let stat = json!({ "Metric": metric, "Period": period_ms / 1_000, "Stat": stat });
            json!({ "Id": id, "MetricStat": stat })
        };
        let (own, queue) = (
            &*self.namespace,
            json!([{ "Name": "QueueName", "Value": self.queue }]),
        );
        json!({
            "StartTime": (now_ms - DAY_MS) / 1_000,
            "EndTime": now_ms / 1_000 + 1,
            "MetricDataQueries": [
                stat("p50", own, COUNT_DELAY, service("aggregate"), DELAY_MS, "p50"),
                stat("p99", own, COUNT_DELAY, service("aggregate"), DELAY_MS, "p99"),
                stat("age", "AWS/SQS", "ApproximateAgeOfOldestMessage", queue, MINUTE_MS, "Maximum"),
                stat("resort", own, LAST_RESORT_RECORDS, json!([]), HOUR_MS, "Sum"),
            ],
        })
    }

    async fn ask(&self, now_ms: i64) -> PortResult<Measured> {
        let answer = self
            .client
            .ask(self.patience, GET, &self.question(now_ms))
            .await?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(PortError::rejected)?;
        let series = answer.metric_data_results;
        Ok(read(&series, now_ms))
    }
}

fn read(series: &[Series], now_ms: i64) -> Measured {
    let of = |id| series.iter().find(|series| series.id == id);
    // A piece is named by its beginning.
    let newest = |id, length_ms| of(id)?.newest(now_ms - NEWEST_MS - length_ms);
    let delay = newest("p50", DELAY_MS).zip(newest("p99", DELAY_MS));
    Measured {
        count_delay_ms: delay.map(|(p50, p99)| DelayMs { p50, p99 }),
        spill_age_ms: newest("age", MINUTE_MS).map(|seconds| seconds * 1_000),
        // Where nothing was ever written nothing was put there.
        last_resort_24h: of("resort").map(|resort| resort.values.iter().sum::<f64>().round() as u64),
    }
}

#[async_trait]
impl Measurements for StackMeasurements {
    async fn measured(&self, now_ms: i64) -> PortResult<Measured> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at_ms, measured)) = last
            && (at_ms..at_ms + KEPT_MS).contains(&now_ms)
        {
            return Ok(measured);
        }
        let measured = self.ask(now_ms).await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now_ms, measured));
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_767_312_150_000;

    fn series(id: &str, values: &[(i64, f64)]) -> Series {
        Series {
            id: id.to_owned(),
            timestamps: values
                .iter()
                .map(|(ago_s, _)| (NOW_MS / 1_000 - ago_s) as f64)
                .collect(),
            values: values.iter().map(|(_, value)| *value).collect(),
        }
    }

    #[test]
    fn the_newest_values_are_told_and_the_last_resorts_are_added_up() {
        let all = [
            series("p50", &[(450, 900.0), (150, 310.4)]),
            series("p99", &[(150, 1_250.0), (450, 2_000.0)]),
            series("age", &[(90, 7.0), (3_600, 40_000.0)]),
            series("resort", &[(150, 1.0), (80_000, 2.0)]),
        ];
        let told = read(&all, NOW_MS);
        assert_eq!(told.count_delay_ms, Some(DelayMs { p50: 310, p99: 1_250 }));
        assert_eq!(told.spill_age_ms, Some(7_000));
        assert_eq!(told.last_resort_24h, Some(3));
    }

    #[test]
    fn what_is_old_or_was_never_written_is_not_told() {
        let old = [
            series("p50", &[(901, 310.0)]),
            series("p99", &[(901, 1_250.0)]),
            series("age", &[(661, 7.0)]),
            series("resort", &[]),
        ];
        let none = Measured {
            last_resort_24h: Some(0),
            ..Measured::default()
        };
        assert_eq!(read(&old, NOW_MS), none);
        assert_eq!(read(&[], NOW_MS), Measured::default());
        // Half of an answer is none.
        assert_eq!(read(&[series("p50", &[(0, 1.0)])], NOW_MS), Measured::default());
    }
}
