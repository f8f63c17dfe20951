//! Decodes the JSON of a Kinesis event, as an event source mapping delivers it, into records of one shard.
//!
//! Invariants: an event is taken whole or refused whole, with a typed error, whatever its bytes are. Its records are of
//! one shard, in order, each with its place and its arrival. What a record *holds* never fails the event: data that is
//! not base64, or no click, is for whoever counts to put in quarantine.
//!
//! The first record is read by a JSON parser; those that follow usually differ from it in five values only, and are held
//! against its bytes (see `shape.rs`). Every record that differs elsewhere goes through the parser again, so what is
//! accepted does not depend on which way it was read.

mod arrival;
mod shape;

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::bucket::ShardId;
use super::sequence::SequenceNumber;
use arrival::arrival_ms;
use shape::{Shape, Values};

/// A batch of one shard's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisEvent {
    shard_id: ShardId,
    slots: Vec<Slot>,
    /// All records' data, one after the other.
    arena: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    sequence_number: SequenceNumber,
    arrived_at_ms: i64,
    /// Where in the arena its data ends; it begins where the one before ends.
    end: usize,
    decoded: bool,
}

/// One record of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KinesisRecord<'a> {
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// When the stream took it, Unix milliseconds.
    pub arrived_at_ms: i64,
    /// Its data. Where that is not base64: the JSON string as it came, quotes included. Since no JSON string is a click
    /// record, it can be given to [`CountedClick::parse`](super::record::CountedClick::parse) like any other, is
    /// refused, and is what belongs into quarantine.
    pub data: &'a [u8],
    /// Whether `data` was base64.
    pub decoded: bool,
}

/// Why an event cannot be worked on. Nothing of it is counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KinesisEventError {
    /// Not JSON, or not of a Kinesis event's shape.
    #[error("not a Kinesis event: {reason}, at or after byte {at}")]
    Malformed {
        /// How far it could be read.
        at: usize,
        /// What is wrong there.
        reason: String,
    },
    /// There is nothing in it, not even a shard.
    #[error("an event without records")]
    NoRecords,
    /// Without its place in the shard a record cannot be counted once.
    #[error("record {record} of the event has no sequence number of 1 to 129 digits")]
    BadSequenceNumber {
        /// Which, from 0.
        record: usize,
    },
    /// The records before this one are not all before it in the shard.
    #[error("record {record} of the event does not come after the one before it")]
    OutOfOrder {
        /// Which, from 0.
        record: usize,
    },
    /// Whether a record is late cannot be judged.
    #[error("record {record} of the event did not arrive at a time from 1970 to 9999")]
    BadArrival {
        /// Which, from 0.
        record: usize,
    },
    /// Not `<shard>:<sequence number>`.
    #[error("record {record} of the event has an event id that names no shard")]
    BadEventId {
        /// Which, from 0.
        record: usize,
    },
    /// Watermarks and lane logs are kept by shard.
    #[error("record {record} of the event is of another shard than the first")]
    MixedShards {
        /// Which, from 0.
        record: usize,
    },
}

impl KinesisEvent {
    /// Decodes an event.
    ///
    /// Fields that are not needed may be there or not; those that are: `Records[].eventID`, `.kinesis.sequenceNumber`,
    /// `.kinesis.data`, `.kinesis.approximateArrivalTimestamp` (seconds).
    ///
    /// # Errors
    /// [`KinesisEventError`], for the event as a whole.
    pub fn decode(json: &[u8]) -> Result<Self, KinesisEventError> {
        Self::decode_by::<true>(json)
    }

    /// With or without shapes, which must make no difference but of speed.
    fn decode_by<const SHAPES: bool>(json: &[u8]) -> Result<Self, KinesisEventError> {
        let mut cursor = Cursor { json, at: 0 };
        let mut event = None;
        cursor.expect(b'{', "an object")?;
        if !cursor.take(b'}') {
            loop {
                let Text(key) = cursor.value()?;
                cursor.expect(b':', "a colon")?;
                if key != "Records" {
                    cursor.value::<IgnoredAny>()?;
                } else if event.is_none() {
                    event = Some(records::<SHAPES>(&mut cursor)?);
                } else {
                    return Err(cursor.error("`Records` twice"));
                }
                if !cursor.take(b',') {
                    break;
                }
            }
            cursor.expect(b'}', "a comma or the object's end")?;
        }
        cursor.skip_space();
        if cursor.at != json.len() {
            return Err(cursor.error("something after the event"));
        }
        event.ok_or(KinesisEventError::NoRecords)
    }

    /// The shard that all records are of.
    pub fn shard_id(&self) -> &ShardId {
        &self.shard_id
    }

    /// How many records there are; at least one.
    #[allow(clippy::len_without_is_empty)] // Never empty.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The records, in the shard's order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = KinesisRecord<'_>> {
        let mut start = 0;
        self.slots.iter().map(move |slot| {
            let data = &self.arena[start..slot.end];
            start = slot.end;
            KinesisRecord {
                sequence_number: slot.sequence_number,
                arrived_at_ms: slot.arrived_at_ms,
                data,
                decoded: slot.decoded,
            }
        })
    }
}

/// What is read of a record by the JSON parser.
#[derive(Deserialize)]
struct RecordJson<'a> {
    #[serde(borrow)]
    kinesis: KinesisJson<'a>,
    #[serde(borrow, rename = "eventID")]
    event_id: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KinesisJson<'a> {
    // Not needed, but it differs from record to record, so its place has to be known.
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    sequence_number: Option<Text<'a>>,
    #[serde(borrow)]
    data: Text<'a>,
    #[serde(borrow)]
    approximate_arrival_timestamp: &'a RawValue,
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The array of records and, of the event, what it says.
fn records<const SHAPES: bool>(cursor: &mut Cursor<'_>) -> Result<KinesisEvent, KinesisEventError> {
    cursor.expect(b'[', "an array of records")?;
    if cursor.take(b']') {
        return Err(KinesisEventError::NoRecords);
    }
    let first: RecordJson<'_> = cursor.peek()?.0;
    let shard_id = shard_of(&first.event_id).ok_or(KinesisEventError::BadEventId { record: 0 })?;
    let mut event = KinesisEvent {
        shard_id: ShardId::from(shard_id),
        // A record is about 1,000 bytes of JSON, 350 of them data. Memory that is not written to costs nothing.
        slots: Vec::with_capacity((cursor.json.len() - cursor.at) / 768 + 1),
        arena: Vec::with_capacity(cursor.json.len() / 2),
    };
    let mut shape: Option<Shape<'_>> = None;
    loop {
        cursor.skip_space();
        let by_shape = shape
            .as_ref()
            .and_then(|shape| shape.read(&cursor.json[cursor.at..]));
        match by_shape {
            Some((values, length)) if event.push_plain(&values) => cursor.at += length,
            _ => {
                let (record, length) = cursor.peek::<RecordJson<'_>>()?;
                event.push(&record)?;
                if SHAPES {
                    shape = Shape::learn(&cursor.json[cursor.at..cursor.at + length], &record);
                }
                cursor.at += length;
            }
        }
        if !cursor.take(b',') {
            break;
        }
    }
    cursor.expect(b']', "a comma or the array's end")?;
    Ok(event)
}

/// The shard that an event id begins with.
fn shard_of<'t>(event_id: &'t Text<'_>) -> Option<&'t str> {
    event_id
        .0
        .split_once(':')
        .map(|(shard, _)| shard)
        .filter(|shard| !shard.is_empty())
}

impl KinesisEvent {
    /// Adds a record that the parser has read.
    #[cold]
    #[inline(never)]
    fn push(&mut self, json: &RecordJson<'_>) -> Result<(), KinesisEventError> {
        let record = self.slots.len();
        let shard = shard_of(&json.event_id).ok_or(KinesisEventError::BadEventId { record })?;
        if *shard != *self.shard_id {
            return Err(KinesisEventError::MixedShards { record });
        }
        let sequence_number = json.kinesis.sequence_number.as_ref().map_or("", |text| &text.0);
        let arrival = json.kinesis.approximate_arrival_timestamp.get();
        let (sequence_number, arrived_at_ms) = self.place(sequence_number.as_bytes(), arrival.as_bytes())?;
        let text = &json.kinesis.data.0;
        let decoded = self.append_base64(text.as_bytes());
        if !decoded {
            serde_json::to_writer(&mut self.arena, text).map_err(|error| KinesisEventError::Malformed {
                at: 0,
                reason: format!("the data of record {record}: {error}"),
            })?;
        }
        self.slots.push(Slot {
            sequence_number,
            arrived_at_ms,
            end: self.arena.len(),
            decoded,
        });
        Ok(())
    }

    /// Adds a record that fits the shape; `false`, and nothing is added, if a value is not what it usually is: the parser
    /// then says what it is.
    #[inline]
    fn push_plain(&mut self, values: &Values<'_>) -> bool {
        let Ok((sequence_number, arrived_at_ms)) = self.place(values.sequence_number, values.arrival) else {
            return false;
        };
        let decoded = self.append_base64(values.data);
        if decoded {
            self.slots.push(Slot {
                sequence_number,
                arrived_at_ms,
                end: self.arena.len(),
                decoded,
            });
        }
        decoded
    }

    /// The next record's place and arrival.
    #[inline]
    fn place(&self, sequence: &[u8], arrival: &[u8]) -> Result<(SequenceNumber, i64), KinesisEventError> {
        let record = self.slots.len();
        let sequence_number = SequenceNumber::from_digits(sequence)
            .map_err(|_| KinesisEventError::BadSequenceNumber { record })?;
        if self
            .slots
            .last()
            .is_some_and(|before| before.sequence_number >= sequence_number)
        {
            return Err(KinesisEventError::OutOfOrder { record });
        }
        let arrived_at_ms = arrival_ms(arrival).ok_or(KinesisEventError::BadArrival { record })?;
        Ok((sequence_number, arrived_at_ms))
    }

    /// Decodes onto the arena's end; where that fails the arena stays as it was.
    #[inline]
    fn append_base64(&mut self, text: &[u8]) -> bool {
        let before = self.arena.len();
        // The decoder itself would reserve exactly, that is copy everything at each record.
        self.arena.reserve(text.len());
        let decoded = base64_simd::STANDARD.decode_append(text, &mut self.arena).is_ok();
        if !decoded {
            self.arena.truncate(before);
        }
        decoded
    }
}

/// A place in the JSON: punctuation by hand, values by the parser.
struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        while matches!(self.json.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.json.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), KinesisEventError> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.error(&format!("{what} was expected")))
        }
    }

    fn error(&self, reason: &str) -> KinesisEventError {
        KinesisEventError::Malformed {
            at: self.at,
            reason: reason.to_owned(),
        }
    }

    /// The value here and its length, space before it included.
    fn peek<T: Deserialize<'a>>(&self) -> Result<(T, usize), KinesisEventError> {
        let mut values = serde_json::Deserializer::from_slice(&self.json[self.at..]).into_iter();
        match values.next() {
            Some(Ok(value)) => Ok((value, values.byte_offset())),
            Some(Err(error)) => Err(self.error(&error.to_string())),
            None => Err(self.error("it ends")),
        }
    }

    fn value<T: Deserialize<'a>>(&mut self) -> Result<T, KinesisEventError> {
        let (value, length) = self.peek()?;
        self.at += length;
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
