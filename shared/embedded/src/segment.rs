//! Segments: one group's records of one shard, as one row.
//!
//! Layout: each record as its length (32 bits, little-endian) and its bytes. The records of a segment have consecutive
//! sequence numbers, and arrived together.

use crate::failure::Damaged;

/// Adds one record.
pub(crate) fn push(segment: &mut Vec<u8>, record: &[u8]) {
    // Records are at most 1 MiB (see `stream`), so the length fits.
    segment.extend_from_slice(&(record.len() as u32).to_le_bytes());
    segment.extend_from_slice(record);
}

/// The records of a segment, in order.
pub(crate) struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    pub(crate) fn of(segment: &'a [u8]) -> Self {
        Self(segment)
    }

    /// What is left after the records that were taken.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self
            .0
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        Some(match record {
            Some((record, rest)) => {
                self.0 = rest;
                Ok(record)
            }
            None => {
                self.0 = &[];
                Err(Damaged("segment of the stream"))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_and_a_cut_segment_is_noticed() {
        let mut segment = Vec::new();
        for record in [b"one".as_slice(), b"", b"three\n"] {
            push(&mut segment, record);
        }
        let records: Vec<&[u8]> = Records::of(&segment).map(Result::unwrap).collect();
        assert_eq!(records, [b"one".as_slice(), b"", b"three\n"]);
        let cut = &segment[..segment.len() - 1];
        assert!(Records::of(cut).last().unwrap().is_err());
    }
}
