//! Kinesis event JSON to clicks, on one core: `cargo bench -p clickledger-benches --bench kinesis`.
//!
//! `decode` is the whole of it: ours and, as a yardstick, serde on the same bytes, which reads what is needed only.
//! `stage` is what ours is made of; the scan of the event's JSON is `event` without `base64` and `sequence`. An element is
//! a record.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; and all that a benchmark can do about an error is stop.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Duration;

use base64::Engine;
use clickledger_core::domain::kinesis_event::KinesisEvent;
use clickledger_core::domain::record::{ClickRecord, CountedClick};
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_testkit::fixtures::{ClickMaker, Delivered, click_event, kinesis_event};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;

#[derive(Deserialize)]
struct OwnedEvent {
    #[serde(rename = "Records")]
    records: Vec<OwnedRecord>,
}

#[derive(Deserialize)]
struct OwnedRecord {
    kinesis: OwnedKinesis,
    #[serde(rename = "eventID")]
    event_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnedKinesis {
    sequence_number: String,
    data: String,
    approximate_arrival_timestamp: f64,
}

#[derive(Deserialize)]
struct BorrowedEvent<'a> {
    #[serde(borrow, rename = "Records")]
    records: Vec<BorrowedRecord<'a>>,
}

#[derive(Deserialize)]
struct BorrowedRecord<'a> {
    #[serde(borrow)]
    kinesis: BorrowedKinesis<'a>,
    #[serde(borrow, rename = "eventID")]
    event_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BorrowedKinesis<'a> {
    #[serde(borrow)]
    sequence_number: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    approximate_arrival_timestamp: f64,
}

type Decoded = (SequenceNumber, i64, CountedClick);

fn ours(json: &[u8], each: impl FnMut(Decoded)) {
    let event = KinesisEvent::decode(json).unwrap();
    let clicks = event.records().map(|record| {
        (
            record.sequence_number,
            record.arrived_at_ms,
            CountedClick::parse(record.data).unwrap(),
        )
    });
    clicks.for_each(each);
}

/// As it is usually written.
fn serde_owned(json: &[u8], mut each: impl FnMut(Decoded)) {
    let event: OwnedEvent = serde_json::from_slice(json).unwrap();
    for record in event.records {
        black_box(&record.event_id);
        let data = base64::engine::general_purpose::STANDARD
            .decode(record.kinesis.data)
            .unwrap();
        let click: ClickRecord = serde_json::from_slice(&data).unwrap();
        each((
            SequenceNumber::from_decimal(&record.kinesis.sequence_number).unwrap(),
            (record.kinesis.approximate_arrival_timestamp * 1000.0).round() as i64,
            CountedClick::from(&click),
        ));
    }
}

/// As it is written by who cares: nothing copied out of the event, the fast base64, and the parser of choice.
fn borrowed(event: BorrowedEvent<'_>, click: impl Fn(&[u8]) -> ClickRecord, mut each: impl FnMut(Decoded)) {
    let mut data = Vec::with_capacity(1024);
    for record in event.records {
        black_box(&record.event_id);
        data.clear();
        base64_simd::STANDARD
            .decode_append(record.kinesis.data.as_bytes(), &mut data)
            .unwrap();
        each((
            SequenceNumber::from_decimal(&record.kinesis.sequence_number).unwrap(),
            (record.kinesis.approximate_arrival_timestamp * 1000.0).round() as i64,
            CountedClick::from(&click(&data)),
        ));
    }
}

/// An event of which nothing can be read the short way: every key and every record is spelled otherwise than we and
/// Kinesis do.
fn unusual_event(records: u64) -> Vec<u8> {
    let mut clicks = ClickMaker::new(1, 10_000, 1_767_312_000_000, 1000.0);
    let delivered = (0..records).map(|n| {
        let mut record = Delivered::click(n, &clicks.record()).unwrap();
        record.partition_key = record.partition_key.replace('#', "\\u0023");
        record.data.insert(0, b' ');
        record
    });
    kinesis_event("shardId-000000000006", &delivered.collect::<Vec<_>>())
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for records in [1000, 6000] {
        let json = click_event(1, records).unwrap();
        let mut same = (Vec::new(), Vec::new());
        ours(&json, |click| same.0.push(click));
        serde_owned(&json, |click| same.1.push(click));
        assert!(same.0 == same.1, "both ways decode the same clicks");

        group.throughput(Throughput::Elements(records));
        let drop = |click: Decoded| {
            black_box(click);
        };
        group.bench_with_input(BenchmarkId::new("ours", records), &json, |b, json| {
            b.iter(|| ours(json, drop));
        });
        let unusual = unusual_event(records);
        group.bench_with_input(BenchmarkId::new("ours_unusual", records), &unusual, |b, json| {
            b.iter(|| ours(json, drop));
        });
        group.bench_with_input(BenchmarkId::new("serde_json_owned", records), &json, |b, json| {
            b.iter(|| serde_owned(json, drop));
        });
        group.bench_with_input(
            BenchmarkId::new("serde_json_borrowed", records),
            &json,
            |b, json| {
                let click = |data: &[u8]| serde_json::from_slice(data).unwrap();
                b.iter(|| borrowed(serde_json::from_slice(json).unwrap(), click, drop));
            },
        );
        group.bench_with_input(
            BenchmarkId::new("sonic_rs_borrowed", records),
            &json,
            |b, json| {
                let click = |data: &[u8]| sonic_rs::from_slice(data).unwrap();
                b.iter(|| borrowed(sonic_rs::from_slice(json).unwrap(), click, drop));
            },
        );
    }
    group.finish();
}

fn stage(c: &mut Criterion) {
    let mut group = c.benchmark_group("stage");
    for records in [1000, 6000] {
        let json = click_event(1, records).unwrap();
        let fields: OwnedEvent = serde_json::from_slice(&json).unwrap();
        let decoded = KinesisEvent::decode(&json).unwrap();

        group.throughput(Throughput::Elements(records));
        group.bench_with_input(BenchmarkId::new("event", records), &json, |b, json| {
            b.iter(|| KinesisEvent::decode(black_box(json)).unwrap().len());
        });
        let mut arena = Vec::with_capacity(json.len());
        group.bench_with_input(BenchmarkId::new("base64", records), &fields, |b, fields| {
            b.iter(|| {
                arena.clear();
                for record in &fields.records {
                    base64_simd::STANDARD
                        .decode_append(record.kinesis.data.as_bytes(), &mut arena)
                        .unwrap();
                }
            });
        });
        group.bench_with_input(BenchmarkId::new("sequence", records), &fields, |b, fields| {
            b.iter(|| {
                for record in &fields.records {
                    black_box(SequenceNumber::from_decimal(&record.kinesis.sequence_number).unwrap());
                }
            });
        });
        group.bench_with_input(BenchmarkId::new("record", records), &decoded, |b, decoded| {
            b.iter(|| {
                for record in decoded.records() {
                    black_box(CountedClick::parse(record.data).unwrap());
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = decode, stage
}
criterion_main!(benches);
