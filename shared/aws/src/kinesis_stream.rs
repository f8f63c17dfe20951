//! The click stream: `PutRecords`, of which only the failed records are sent again.
//!
//! Invariant: outcomes are in the records' order. `Unavailable` means that no try of this record was taken or may have been; a
//! record that was once put without an answer stays `Ambiguous`, whatever its later tries say, until one is taken.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clickledger_core::ports::{ClickStream, Outgoing, PortError, PortResult};
use serde::{Deserialize, Serialize, Serializer};

use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure;
use crate::patience::{Patience, Tries};
use crate::signed::{Operation, Signed};

const PUT_RECORDS: Operation = Operation {
    target: "Kinesis_20131202.PutRecords",
    content: "application/x-amz-json-1.1",
};
/// Most records of one call.
const MAX_RECORDS: usize = 500;
/// Most bytes of one call, data and keys: half of what AWS takes today, which is what it took before.
const MAX_CALL_BYTES: usize = 5 << 20;
/// Most bytes of one record, data and key.
const MAX_RECORD_BYTES: usize = 1 << 20;
/// Most characters of a partition key.
const MAX_KEY_CHARS: usize = 256;

/// The [`ClickStream`] on Kinesis.
pub struct Stream {
    client: Signed,
    name: String,
    patience: Patience,
}

impl Aws {
    /// The click stream, to be written to. Each call of at most 500 records has this patience.
    ///
    /// # Errors
    /// The stream's name is missing.
    pub async fn stream(&self, patience: Patience) -> Result<Stream, ConfigError> {
        Ok(Stream {
            client: self.signed("kinesis").await?,
            name: self.name(Resource::Stream)?,
            patience,
        })
    }
}

#[derive(Serialize)]
struct PutRecords<'a> {
    #[serde(rename = "StreamName")]
    stream: &'a str,
    #[serde(rename = "Records")]
    records: Vec<PutRecord<'a>>,
}

#[derive(Serialize)]
struct PutRecord<'a> {
    #[serde(rename = "PartitionKey")]
    partition_key: &'a str,
    #[serde(rename = "Data", serialize_with = "as_base64")]
    data: &'a [u8],
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn as_base64<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(data))
}

#[derive(Deserialize)]
struct Answered {
    #[serde(rename = "Records")]
    records: Vec<AnsweredRecord>,
}

#[derive(Deserialize)]
struct AnsweredRecord {
    #[serde(rename = "ErrorCode")]
    code: Option<String>,
    #[serde(rename = "ErrorMessage")]
    message: Option<String>,
}

impl AnsweredRecord {
    fn outcome(self) -> PortResult<()> {
        match self.code {
            None => Ok(()),
            // In a whole call's answer this would be a status of 500.
            Some(code) if code == "InternalFailure" => Err(PortError::ambiguous(code)),
            Some(code) => Err(failure::answered(
                Some(&code),
                400,
                &self.message.unwrap_or_default(),
            )),
        }
    }
}

fn size(record: &Outgoing) -> usize {
    record.data.len() + record.partition_key.len()
}

/// Why Kinesis will never take this record.
fn unacceptable(record: &Outgoing) -> Option<PortError> {
    let characters = record.partition_key.chars().count();
    if size(record) > MAX_RECORD_BYTES {
        Some(PortError::rejected(format!("a record of {} bytes", size(record))))
    } else if !(1..=MAX_KEY_CHARS).contains(&characters) {
        Some(PortError::rejected(format!(
            "a partition key of {characters} characters"
        )))
    } else {
        None
    }
}

/// The places of `records` cut into calls.
fn calls(records: &[Outgoing], places: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
    let (mut calls, mut bytes): (Vec<Vec<usize>>, usize) = (Vec::new(), 0);
    for place in places {
        let size = size(&records[place]);
        match calls.last_mut() {
            Some(call) if call.len() < MAX_RECORDS && bytes + size <= MAX_CALL_BYTES => {
                call.push(place);
                bytes += size;
            }
            _ => {
                calls.push(vec![place]);
                bytes = size;
            }
        }
    }
    calls
}

impl Stream {
    /// One call; an outcome for each place, or the call's own failure.
    async fn put(&self, records: &[Outgoing], places: &[usize]) -> PortResult<Vec<PortResult<()>>> {
        let put = PutRecords {
            stream: &self.name,
            records: places
                .iter()
                .map(|place| PutRecord {
                    partition_key: &records[*place].partition_key,
                    data: &records[*place].data,
                })
                .collect(),
        };
        let size: usize = places.iter().map(|place| size(&records[*place])).sum();
        let mut body = Vec::with_capacity(size * 4 / 3 + 64 * places.len() + 128);
        serde_json::to_writer(&mut body, &put).map_err(PortError::rejected)?;
        let answer = self.client.call(PUT_RECORDS, body).await?;
        if answer.status != 200 {
            return Err(answer.fault());
        }
        let answered: Answered = serde_json::from_slice(&answer.body).map_err(PortError::ambiguous)?;
        if answered.records.len() != places.len() {
            return Err(PortError::ambiguous("not an outcome for each record"));
        }
        Ok(answered
            .records
            .into_iter()
            .map(AnsweredRecord::outcome)
            .collect())
    }

    /// Puts the records at `places` until all are taken or time is up.
    async fn put_all(&self, records: &[Outgoing], mut places: Vec<usize>, outcomes: &mut [PortResult<()>]) {
        let mut tries: Tries = self.patience.begin();
        loop {
            let answered = match tries.time(self.put(records, &places)).await {
                Ok(answered) => answered,
                Err(error) => vec![Err(error); places.len()],
            };
            let mut failed = None;
            let mut left = Vec::new();
            for (place, outcome) in places.into_iter().zip(answered) {
                let outcome = match (outcome, &outcomes[place]) {
                    // An earlier try may have been taken: this refusal does not undo it.
                    (Err(PortError::Unavailable(_)), Err(before @ PortError::Ambiguous(_))) => {
                        Err(before.clone())
                    }
                    (outcome, _) => outcome,
                };
                if let Err(error) = &outcome
                    && error.is_retryable()
                {
                    failed = Some(error.clone());
                    left.push(place);
                }
                outcomes[place] = outcome;
            }
            let Some(failed) = failed else { return };
            if tries.pause_after(failed).await.is_err() {
                return;
            }
            places = left;
        }
    }
}

#[async_trait]
impl ClickStream for Stream {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        let mut outcomes: Vec<PortResult<()>> = records
            .iter()
            .map(|record| Err(unacceptable(record).unwrap_or_else(|| PortError::unavailable("not tried"))))
            .collect();
        let acceptable: Vec<usize> = (0..records.len())
            .filter(|place| matches!(outcomes[*place], Err(PortError::Unavailable(_))))
            .collect();
        // One call after another: records of one key keep their order.
        for call in calls(&records, acceptable.into_iter()) {
            self.put_all(&records, call, &mut outcomes).await;
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: usize) -> Outgoing {
        Outgoing {
            partition_key: "7#0".to_owned(),
            data: vec![b'x'; bytes],
        }
    }

    #[test]
    fn calls_hold_at_most_500_records_and_5_mb() {
        let many: Vec<Outgoing> = (0..1_201).map(|_| record(10)).collect();
        let lengths: Vec<usize> = calls(&many, 0..many.len()).iter().map(Vec::len).collect();
        assert_eq!(lengths, [500, 500, 201]);
        let large: Vec<Outgoing> = (0..12).map(|_| record(MAX_RECORD_BYTES - 3)).collect();
        let lengths: Vec<usize> = calls(&large, 0..large.len()).iter().map(Vec::len).collect();
        assert_eq!(lengths, [5, 5, 2]);
        let order: Vec<usize> = calls(&large, (0..12).rev()).into_iter().flatten().collect();
        assert_eq!(order, (0..12).rev().collect::<Vec<_>>());
    }

    #[test]
    fn what_kinesis_never_takes_is_rejected() {
        assert!(unacceptable(&record(MAX_RECORD_BYTES - 3)).is_none());
        let bad_key = |partition_key: String| Outgoing {
            partition_key,
            ..record(1)
        };
        for bad in [
            record(MAX_RECORD_BYTES - 2),
            bad_key(String::new()),
            bad_key("k".repeat(257)),
        ] {
            assert!(matches!(unacceptable(&bad), Some(PortError::Rejected(_))));
        }
    }
}
