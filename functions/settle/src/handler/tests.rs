use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::ports::{ClickStream, Outgoing, PortError, PortResult};
use clickledger_core::service::settle::SettlePorts;
use clickledger_testkit::memory::{MemoryCatalog, MemorySpill, MemoryStream, StreamOptions};
use clickledger_testkit::virtual_time::VirtualTime;
use serde_json::value::RawValue;

use super::*;

/// Two spilled clicks, and between them a message that is none.
const EVENT: &str = include_str!("../../../../tests/fixtures/sqs_event.json");
const FIRST: &str = "059f36b4-87a3-44ab-83d2-661975560001";
const NO_CLICK: &str = "059f36b4-87a3-44ab-83d2-661975560002";

/// Refuses what is put with this key.
struct Refusing {
    stream: MemoryStream,
    key: &'static str,
}

#[async_trait]
impl ClickStream for Refusing {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        let mut outcomes = Vec::new();
        for record in records {
            if record.partition_key == self.key {
                outcomes.push(Err(PortError::unavailable("throttled")));
            } else {
                outcomes.extend(self.stream.publish(vec![record]).await);
            }
        }
        outcomes
    }
}

/// The answer's JSON and what is on the stream.
fn settled(
    json: &str,
    refused: &'static str,
) -> Result<(serde_json::Value, MemoryStream), serde_json::Error> {
    let time = VirtualTime::new(1_767_312_001_000);
    let stream = MemoryStream::new(Arc::new(time.clone()), StreamOptions::plain(1));
    let ports = SettlePorts {
        spill: Arc::new(MemorySpill::default()),
        stream: Arc::new(Refusing {
            stream: stream.clone(),
            key: refused,
        }),
        catalog: Arc::new(MemoryCatalog::default()),
        clock: Arc::new(time.clone()),
    };
    let settle = Settle::new(ports, Mutation::default());
    let batch = Batch {
        json: RawValue::from_string(json.to_owned()).unwrap(),
        deadline_ms: i64::MAX,
    };
    let answer = time.block_on(work(&settle, &batch))?;
    Ok((serde_json::to_value(&answer).unwrap(), stream))
}

fn failures(answer: &serde_json::Value) -> Vec<&str> {
    let failures = answer["batchItemFailures"].as_array().unwrap().iter();
    failures
        .map(|failure| failure["itemIdentifier"].as_str().unwrap())
        .collect()
}

#[test]
fn spilled_clicks_are_put_back_as_they_were() {
    let (answer, stream) = settled(EVENT, "").unwrap();
    assert_eq!(failures(&answer), [NO_CLICK]);
    let shard = stream.all_shards().remove(0);
    let event: serde_json::Value = serde_json::from_str(EVENT).unwrap();
    let wanted: Vec<_> = [0, 2]
        .map(|n| event["Records"][n]["body"].as_str().unwrap())
        .map(|body| SpillQueue::record(body).unwrap().data)
        .into();
    let put: Vec<_> = stream
        .all_records(&shard)
        .into_iter()
        .map(|record| record.data)
        .collect();
    assert_eq!(put, wanted);
}

#[test]
fn what_the_stream_refuses_comes_again() {
    let (answer, stream) = settled(EVENT, "73001#1").unwrap();
    assert_eq!(failures(&answer), [NO_CLICK, FIRST]);
    assert_eq!(stream.len(), 1);
}

#[test]
fn an_event_of_something_else_fails_as_a_whole() {
    assert!(settled("{}", "").is_err());
}
