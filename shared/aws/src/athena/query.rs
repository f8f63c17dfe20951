//! Running a query on Athena: start it, wait for it, and find its result, a CSV object in our bucket.
//!
//! Invariant: a query is started under a token of its own, so that a start whose answer was lost starts nothing twice.

use std::time::Duration;

use aws_sdk_s3::Client as S3;
use clickledger_core::ports::{PortError, PortResult};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::failure;
use crate::patience::Patience;
use crate::signed::{Operation, Signed};
use crate::system::random_below;

const START: Operation = Operation {
    target: "AmazonAthena.StartQueryExecution",
    content: "application/x-amz-json-1.1",
};
const GET: Operation = Operation {
    target: "AmazonAthena.GetQueryExecution",
    content: "application/x-amz-json-1.1",
};
/// How long a query may take. Athena ends one itself after 30 minutes.
const LONGEST: Duration = Duration::from_secs(600);
/// Pauses between two looks at a query.
const PAUSES_MS: (u64, u64) = (100, 2_000);

/// Where queries run.
pub(super) struct Athena {
    pub(super) client: Signed,
    pub(super) s3: S3,
    pub(super) bucket: String,
    pub(super) database: String,
    pub(super) workgroup: String,
    pub(super) patience: Patience,
}

#[derive(Deserialize)]
struct Started {
    #[serde(rename = "QueryExecutionId")]
    id: String,
}

#[derive(Deserialize)]
struct Looked {
    #[serde(rename = "QueryExecution")]
    execution: Execution,
}

#[derive(Deserialize)]
struct Execution {
    #[serde(rename = "Status")]
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(rename = "State")]
    state: String,
    #[serde(rename = "StateChangeReason")]
    reason: Option<String>,
}

impl Athena {
    async fn call(&self, operation: Operation, body: &serde_json::Value) -> PortResult<bytes::Bytes> {
        self.client.ask(self.patience, operation, body).await
    }

    /// Runs a query to its end; its id.
    ///
    /// # Errors
    /// It failed, or took too long: another try may succeed.
    pub(super) async fn run(&self, sql: &str) -> PortResult<String> {
        let token: String = (0..4)
            .map(|_| format!("{:016x}", random_below(u64::MAX)))
            .collect();
        let start = json!({
            "QueryString": sql,
            "ClientRequestToken": token,
            "QueryExecutionContext": {"Database": self.database},
            "ResultConfiguration": {"OutputLocation": format!("s3://{}/athena/", self.bucket)},
            "WorkGroup": self.workgroup,
        });
        let started: Started =
            serde_json::from_slice(&self.call(START, &start).await?).map_err(PortError::ambiguous)?;
        let (until, mut pause_ms) = (Instant::now() + LONGEST, PAUSES_MS.0);
        let look = json!({"QueryExecutionId": started.id});
        loop {
            let looked: Looked =
                serde_json::from_slice(&self.call(GET, &look).await?).map_err(PortError::ambiguous)?;
            let status = looked.execution.status;
            match status.state.as_str() {
                "SUCCEEDED" => return Ok(started.id),
                "QUEUED" | "RUNNING" if Instant::now() < until => {
                    sleep(Duration::from_millis(pause_ms)).await;
                    pause_ms = (pause_ms * 3 / 2).min(PAUSES_MS.1);
                }
                state => {
                    let reason = status.reason.unwrap_or_default();
                    return Err(PortError::unavailable(format!(
                        "query {} is {state}: {reason}",
                        started.id
                    )));
                }
            }
        }
    }

    /// The bytes of a query's result from `from` on, at most `limit` of them; fewer only at its end.
    pub(super) async fn result(&self, id: &str, from: u64, limit: u64) -> PortResult<Vec<u8>> {
        let gone = || PortError::rejected(format!("the result of query {id:?} is gone"));
        if !is_query(id) {
            return Err(gone());
        }
        // Athena's own name first; the local emulator puts the same object one level deeper.
        for key in [format!("athena/{id}.csv"), format!("athena/{id}.csv/{id}.csv")] {
            // What is not there is an answer, not a failure that another try would mend.
            let get = || async {
                let get = self.s3.get_object().bucket(&self.bucket).key(&key);
                let range = format!("bytes={from}-{}", from + limit - 1);
                match get.range(range).send().await.map_err(failure::of_sdk) {
                    Ok(object) => {
                        let body = object.body.collect().await.map_err(PortError::unavailable)?;
                        Ok(Some(body.to_vec()))
                    }
                    Err(error) if is(&error, "InvalidRange") => Ok(Some(Vec::new())),
                    Err(error) if is(&error, "NoSuchKey") => Ok(None),
                    Err(error) => Err(error),
                }
            };
            if let Some(bytes) = self.patience.run(get).await? {
                return Ok(bytes);
            }
        }
        Err(gone())
    }

    /// A result as a whole: for those that are known to be short.
    pub(super) async fn rows(&self, id: &str) -> PortResult<Vec<csv::StringRecord>> {
        const STEP: u64 = 8 << 20;
        let mut bytes = Vec::new();
        loop {
            let more = self.result(id, bytes.len() as u64, STEP).await?;
            let ended = (more.len() as u64) < STEP;
            bytes.extend(more);
            if ended {
                break;
            }
        }
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        reader
            .records()
            .collect::<Result<_, _>>()
            .map_err(PortError::rejected)
    }

    /// Deletes a result.
    pub(super) async fn forget(&self, id: &str) -> PortResult<()> {
        if !is_query(id) {
            return Ok(());
        }
        let deeper = format!("athena/{id}.csv/{id}.csv");
        for key in [
            format!("athena/{id}.csv"),
            format!("athena/{id}.csv.metadata"),
            deeper,
        ] {
            let delete = || async {
                let delete = self.s3.delete_object().bucket(&self.bucket).key(&key);
                delete.send().await.map_err(failure::of_sdk).map(drop)
            };
            self.patience.run(delete).await?;
        }
        Ok(())
    }
}

/// Whether this may be a query's id (a UUID): it becomes part of an object's name.
fn is_query(id: &str) -> bool {
    id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Whether S3 said so.
fn is(error: &PortError, code: &str) -> bool {
    error.to_string().contains(code)
}
