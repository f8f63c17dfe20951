use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::record::{CountedClick, RecordError};

const FIRST: &str = "49590338271490256608559692538361571095921575989136588898";

fn sequence(n: usize) -> String {
    format!("{}{:04}", &FIRST[..52], n)
}

fn record(n: usize, data: &[u8]) -> Value {
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": format!("731#{n}"),
            "sequenceNumber": sequence(n),
            "data": STANDARD.encode(data),
            "approximateArrivalTimestamp": 1_545_084_650.0 + n as f64 / 1000.0,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("shardId-000000000006:{}", sequence(n)),
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
        "awsRegion": "us-east-2",
        "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/clicks",
    })
}

fn event(n: usize) -> Value {
    let records: Vec<Value> = (0..n)
        .map(|i| record(i, format!("record {i}").as_bytes()))
        .collect();
    json!({ "Records": records })
}

fn decode(event: &Value) -> Result<KinesisEvent, KinesisEventError> {
    KinesisEvent::decode(event.to_string().as_bytes())
}

/// Sequence number, arrival, and data or the text that is not base64.
type Reference = (String, i64, Result<Vec<u8>, String>);

/// An event, decoded by nothing but `serde_json::Value`: slow, plain, and written against the event's documentation.
fn reference(json: &[u8]) -> Option<(String, Vec<Reference>)> {
    let event: Value = serde_json::from_slice(json).ok()?;
    let mut shard = None;
    let records = event.get("Records")?.as_array()?.iter().map(|record| {
        let kinesis = record.get("kinesis")?;
        let number = kinesis.get("sequenceNumber")?.as_str()?;
        let (of, _) = record.get("eventID")?.as_str()?.split_once(':')?;
        if *shard.get_or_insert_with(|| of.to_owned()) != of || of.is_empty() {
            return None;
        }
        let arrived = kinesis.get("approximateArrivalTimestamp")?.as_f64()? * 1000.0;
        let text = kinesis.get("data")?.as_str()?;
        let data = STANDARD.decode(text).map_err(|_| text.to_owned());
        let digits = (1..=129).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        let sane = digits && (0.0..253_402_300_800_000.0).contains(&arrived);
        let key_is_text = kinesis
            .get("partitionKey")
            .is_none_or(|key| key.is_string() || key.is_null());
        (sane && key_is_text).then(|| (number.to_owned(), arrived.round() as i64, data))
    });
    let records = records.collect::<Option<Vec<_>>>()?;
    let numbers: Vec<_> = records
        .iter()
        .map(|r| SequenceNumber::from_decimal(&r.0).unwrap())
        .collect();
    if !numbers.is_sorted_by(|a, b| a < b) {
        return None;
    }
    Some((shard?, records))
}

/// With and without shapes the answer is the same, and what is accepted is read as the reference reads it. Says whether it
/// was accepted.
fn agrees(json: &[u8]) -> bool {
    assert_eq!(
        KinesisEvent::decode(json),
        KinesisEvent::decode_by::<false>(json),
        "{}",
        String::from_utf8_lossy(json)
    );
    let Ok(event) = KinesisEvent::decode(json) else {
        return false;
    };
    let (shard, records) = reference(json).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(json)));
    assert_eq!(**event.shard_id(), *shard);
    assert_eq!(event.len(), records.len());
    for (ours, (number, arrived_at_ms, data)) in event.records().zip(records) {
        assert_eq!(
            ours.sequence_number,
            SequenceNumber::from_decimal(&number).unwrap()
        );
        assert_eq!(ours.arrived_at_ms, arrived_at_ms);
        assert_eq!(ours.decoded, data.is_ok());
        match data {
            Ok(data) => assert_eq!(ours.data, data),
            Err(text) => assert_eq!(serde_json::from_slice::<String>(ours.data).unwrap(), text),
        }
    }
    true
}

#[test]
fn an_event_gives_its_records_in_order() {
    let decoded = decode(&event(3)).unwrap();
    assert_eq!(&**decoded.shard_id(), "shardId-000000000006");
    let records: Vec<_> = decoded.records().collect();
    assert_eq!(records.len(), 3);
    for (i, record) in records.iter().enumerate() {
        assert_eq!(record.sequence_number.to_string(), sequence(i));
        assert_eq!(record.arrived_at_ms, 1_545_084_650_000 + i as i64);
        assert_eq!(record.data, format!("record {i}").as_bytes());
        assert!(record.decoded);
    }
}

#[test]
fn every_spelling_of_an_event_is_the_same_event() {
    let expected = decode(&event(5)).unwrap();
    let plain = event(5).to_string();
    let mut extra = event(5);
    for (i, record) in extra["Records"].as_array_mut().unwrap().iter_mut().enumerate() {
        record["kinesis"]["encryptionType"] = if i % 2 == 0 {
            "NONE".into()
        } else {
            json!({"data": ["x"], "eventID": 1})
        };
    }
    extra["window"] = json!({"start": "2026-01-02T00:00:00Z", "Records": []});
    for spelling in [
        serde_json::to_string_pretty(&event(5)).unwrap(),
        format!(" \n{plain}\r\n\t"),
        plain.replace('#', "\\u0023"),
        plain.replace("shardId", "shard\\u0049d"),
        plain.replace("\"data\"", "\"d\\u0061ta\""),
        plain.replace(":\"4959", ":\"\\u0034959"),
        // Only some records differ: the shape is learnt again and again.
        plain
            .replace("\"731#3\"", "\"731\\u00233\"")
            .replace("\"731#1\"", "\"ключ\""),
        plain.replacen("\"eventVersion\":\"1.0\"", "\"eventVersion\":\"1.1\"", 3),
        plain.replacen("},{", "} , {", 2),
        plain.replace(":1545084650.002", ":1.545084650002E9"),
        extra.to_string(),
    ] {
        assert_ne!(spelling, plain);
        assert_eq!(
            KinesisEvent::decode(spelling.as_bytes()).as_ref(),
            Ok(&expected),
            "{spelling}"
        );
        assert!(agrees(spelling.as_bytes()));
    }
}

#[test]
fn data_that_is_no_base64_is_kept_as_it_came_and_fails_no_event() {
    let click = r#"{"v":1}"#;
    for bad in [
        "*",
        "QUJ",
        "QUJD\n",
        "QUJD QUJD",
        "QUJDR===",
        "QUJDRB==",
        "QU\"JD",
        "ключ",
        "\\",
        "a-_b",
        click,
    ] {
        let mut event = event(4);
        event["Records"][2]["kinesis"]["data"] = bad.into();
        let decoded = decode(&event).unwrap();
        let records: Vec<_> = decoded.records().collect();
        assert_eq!(
            records.iter().map(|r| r.decoded).collect::<Vec<_>>(),
            [true, true, false, true]
        );
        assert_eq!(
            records[2].data,
            serde_json::to_vec(bad).unwrap(),
            "the JSON string itself"
        );
        assert!(matches!(
            CountedClick::parse(records[2].data),
            Err(RecordError::Malformed(_))
        ));
        assert_eq!(records[3].data, b"record 3", "what follows is where it belongs");
        assert!(agrees(event.to_string().as_bytes()));
    }
}

#[test]
fn empty_data_and_escaped_slashes_are_base64() {
    let mut event = event(3);
    event["Records"][0]["kinesis"]["data"] = "".into();
    event["Records"][1]["kinesis"]["data"] = STANDARD.encode([0xFF; 9]).into();
    let escaped = event.to_string().replace("////////////", "\\/////\\/\\//////");
    assert_ne!(escaped, event.to_string());
    let decoded = KinesisEvent::decode(escaped.as_bytes()).unwrap();
    let data: Vec<_> = decoded.records().map(|r| r.data).collect();
    assert_eq!(data, [b"".as_slice(), &[0xFF; 9], b"record 2"]);
    assert!(decoded.records().all(|r| r.decoded));
}

#[test]
fn the_first_record_that_spoils_an_event_is_named() {
    type Error = KinesisEventError;
    let spoil = |n: usize, pointer: &str, value: Value| {
        let mut event = event(6);
        *event["Records"][n].pointer_mut(pointer).unwrap() = value;
        decode(&event).unwrap_err()
    };
    for n in [0, 1, 5] {
        let (record, number, arrival) = (
            n,
            "/kinesis/sequenceNumber",
            "/kinesis/approximateArrivalTimestamp",
        );
        for bad in [
            Value::Null,
            "".into(),
            "12a".into(),
            "-1".into(),
            " 1".into(),
            "１".into(),
            "9".repeat(130).into(),
        ] {
            assert_eq!(spoil(n, number, bad), Error::BadSequenceNumber { record });
        }
        for bad in [
            json!(-1.5),
            json!(1e15),
            json!("1545084650.987"),
            json!(null),
            json!(1e300),
        ] {
            assert_eq!(spoil(n, arrival, bad), Error::BadArrival { record });
        }
        for bad in ["", "shardId-000000000006", ":1"] {
            assert_eq!(spoil(n, "/eventID", bad.into()), Error::BadEventId { record });
        }
        for (pointer, bad) in [
            (number, json!(5)),
            ("/kinesis/data", json!(null)),
            ("/eventID", json!({})),
            ("/kinesis", json!([])),
        ] {
            assert!(matches!(spoil(n, pointer, bad), Error::Malformed { .. }));
        }
        let mut missing = event(6);
        missing["Records"][n]["kinesis"]
            .as_object_mut()
            .unwrap()
            .remove("sequenceNumber");
        assert_eq!(decode(&missing), Err(Error::BadSequenceNumber { record }));
        if n > 0 {
            let other = format!("shardId-000000000007:{}", sequence(n));
            assert_eq!(spoil(n, "/eventID", other.into()), Error::MixedShards { record });
            assert_eq!(
                spoil(n, number, sequence(n - 1).into()),
                Error::OutOfOrder { record }
            );
            assert_eq!(spoil(n, number, "1".into()), Error::OutOfOrder { record });
        }
    }
}

#[test]
fn what_is_no_event_is_refused() {
    for bad in [
        "",
        " ",
        "null",
        "[]",
        "{",
        "{}x",
        "{\"Records\":{}}",
        "{\"Records\":[1]}",
        "{\"Records\":[{}]}",
        "{\"a\":1,}",
        "{\"a\" 1}",
    ] {
        assert!(
            matches!(
                KinesisEvent::decode(bad.as_bytes()),
                Err(KinesisEventError::Malformed { .. })
            ),
            "{bad}"
        );
    }
    for empty in ["{}", "{\"Records\":[]}", "{\"records\":[1]}"] {
        assert_eq!(
            KinesisEvent::decode(empty.as_bytes()),
            Err(KinesisEventError::NoRecords),
            "{empty}"
        );
    }
    let one = record(0, b"x").to_string();
    for bad in [
        format!("{{\"Records\":[{one}],\"Records\":[{one}]}}"),
        format!("{{\"Records\":[{one}]}}{{}}"),
        format!("{{\"Records\":[{one},]}}"),
        format!("{{\"Records\":[{one}"),
        format!("{{\"Records\":[{one}{one}]}}"),
        format!(
            "{{\"Records\":[{}]}}",
            one.replace("\"data\":", "\"data\":\"\",\"data\":")
        ),
        // Deeper than any stack should follow.
        format!("{{\"x\":{}", "[".repeat(1_000_000)),
    ] {
        let error = KinesisEvent::decode(bad.as_bytes()).unwrap_err();
        assert!(matches!(error, KinesisEventError::Malformed { .. }), "{error}");
    }
}

#[test]
fn an_event_is_cut_nowhere_without_being_refused() {
    let json = event(3).to_string();
    for length in 0..json.len() {
        assert!(
            KinesisEvent::decode(&json.as_bytes()[..length]).is_err(),
            "{length}"
        );
    }
}

#[test]
fn every_changed_byte_is_refused_or_read_as_the_reference_reads_it() {
    let json = event(3).to_string().into_bytes();
    let mut accepted = 0;
    for place in 0..json.len() {
        for byte in b"\"\\{}[]:,0159aA \n\t-+.eE/=\x00\x7f" {
            let mut changed = json.clone();
            changed[place] = *byte;
            accepted += usize::from(agrees(&changed));
            let mut longer = json.clone();
            longer.insert(place, *byte);
            accepted += usize::from(agrees(&longer));
        }
    }
    assert!(accepted > 1000, "{accepted}");
}

proptest! {
    #[test]
    fn any_data_comes_back(data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20), pretty: bool) {
        let records: Vec<Value> = data.iter().enumerate().map(|(i, data)| record(i, data)).collect();
        let event = json!({ "Records": records });
        let json = if pretty { serde_json::to_vec_pretty(&event) } else { serde_json::to_vec(&event) }.unwrap();
        let decoded = KinesisEvent::decode(&json).unwrap();
        prop_assert!(decoded.records().map(|r| r.data).eq(data.iter().map(Vec::as_slice)));
        prop_assert!(agrees(&json));
    }

    #[test]
    fn mutated_events_are_refused_or_read_as_the_reference_reads_them(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..4),
    ) {
        let mut json = event(4).to_string().into_bytes();
        for (place, other, byte, kind) in changes {
            let (place, other) = (place.index(json.len()), other.index(json.len()));
            match kind {
                0 => json[place] = byte,
                1 => { json.remove(place); }
                2 => json.swap(place, other),
                _ => { json.drain(place.min(other)..place.max(other)); }
            }
            if json.is_empty() { break; }
        }
        // The reference compares as strings; ASCII keeps both to the same question.
        if json.is_ascii() { agrees(&json); } else { let _ = KinesisEvent::decode(&json); }
    }

    #[test]
    fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(KinesisEvent::decode(&bytes).is_err());
    }
}
