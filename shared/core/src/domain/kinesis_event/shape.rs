//! What the records of an event have in common: the bytes around the five values that differ.
//!
//! Invariant: bytes that fit a shape are a JSON record in which the parser would find the same five values. For a shape
//! is cut from a record that the parser has read, and in its gaps stands only what can stand there without being
//! anything else: in strings, plain characters up to the next quote; in the number's place, a number.

use std::borrow::Cow;

use memchr::memchr;
use smallvec::SmallVec;

use super::{RecordJson, Text};
use crate::domain::record::plain_text;

/// A record's bytes, cut at its values.
pub(super) struct Shape<'a> {
    /// The bytes before each gap, in order.
    parts: SmallVec<[(&'a [u8], Gap); 5]>,
    /// The bytes after the last.
    tail: &'a [u8],
    /// Length of the sequence number; those of a stream seldom differ in it.
    digits: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    PartitionKey,
    SequenceNumber,
    Data,
    Arrival,
    /// What follows the shard in the event id: the sequence number again.
    EventSequence,
}

/// What stands in the gaps, as far as it is needed. The data is free of quotes, but not yet known to be base64.
pub(super) struct Values<'a> {
    pub(super) sequence_number: &'a [u8],
    pub(super) data: &'a [u8],
    /// Of a number's characters, but not yet known to be a number.
    pub(super) arrival: &'a [u8],
}

impl<'a> Shape<'a> {
    /// The shape of `json`, in which the parser found `record`. There is none where a value is written with escapes.
    #[cold]
    pub(super) fn learn(json: &'a [u8], record: &RecordJson<'a>) -> Option<Self> {
        let sequence_number = borrowed(record.kinesis.sequence_number.as_ref()?)?;
        let arrival = record.kinesis.approximate_arrival_timestamp.get();
        let mut gaps: SmallVec<[(&str, Gap); 5]> = SmallVec::new();
        gaps.push((sequence_number, Gap::SequenceNumber));
        gaps.push((borrowed(&record.kinesis.data)?, Gap::Data));
        gaps.push((arrival, Gap::Arrival));
        gaps.push((borrowed(&record.event_id)?.split_once(':')?.1, Gap::EventSequence));
        if let Some(key) = &record.kinesis.partition_key {
            gaps.push((borrowed(key)?, Gap::PartitionKey));
        }
        gaps.sort_by_key(|(text, _)| text.as_ptr());
        let (mut parts, mut at) = (SmallVec::new(), 0);
        for (text, gap) in gaps {
            // Where the value stands: it is borrowed from `json`.
            let start = text.as_ptr().addr().checked_sub(json.as_ptr().addr())?;
            parts.push((json.get(at..start)?, gap));
            at = start + text.len();
        }
        Some(Self {
            parts,
            tail: json.get(at..)?,
            digits: sequence_number.len(),
        })
    }

    /// The values of the record that `json` begins with, and its length, if it fits.
    #[inline]
    pub(super) fn read<'j>(&self, json: &'j [u8]) -> Option<(Values<'j>, usize)> {
        let mut values = Values {
            sequence_number: &[],
            data: &[],
            arrival: &[],
        };
        let mut rest = json;
        for (literal, gap) in &self.parts {
            rest = rest.strip_prefix(*literal)?;
            let length = match gap {
                Gap::PartitionKey => plain_text(rest)?,
                Gap::SequenceNumber => {
                    // That all of it are digits is checked when it is converted.
                    let length = if rest.get(self.digits) == Some(&b'"') {
                        self.digits
                    } else {
                        plain_text(rest)?
                    };
                    values.sequence_number = &rest[..length];
                    length
                }
                Gap::Data => {
                    let length = memchr(b'"', rest)?;
                    values.data = &rest[..length];
                    length
                }
                Gap::Arrival => {
                    let in_number =
                        |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
                    let length = rest.iter().position(|byte| !in_number(byte))?;
                    values.arrival = &rest[..length];
                    length
                }
                Gap::EventSequence => {
                    let known = values.sequence_number.len();
                    let repeated = known > 0 && rest.starts_with(values.sequence_number);
                    if repeated && rest.get(known) == Some(&b'"') {
                        known
                    } else {
                        plain_text(rest)?
                    }
                }
            };
            rest = &rest[length..];
        }
        rest = rest.strip_prefix(self.tail)?;
        Some((values, json.len() - rest.len()))
    }
}

fn borrowed<'a>(text: &Text<'a>) -> Option<&'a str> {
    match text.0 {
        Cow::Borrowed(text) => Some(text),
        Cow::Owned(_) => None,
    }
}
