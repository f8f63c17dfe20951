//! How a stream numbers its records and tells their times.

use std::fmt;

use clickledger_core::domain::sequence::SequenceNumber;

use crate::sim_rng::SimRng;

/// How a stream begins, numbers its records and tells their times.
pub struct StreamOptions {
    /// Open shards at first; at least 1.
    pub shards: usize,
    /// Below the first record's number.
    pub start: SequenceNumber,
    /// By how much the next record's number is higher; at least 1. Asked for every record.
    pub gap: Box<dyn FnMut() -> u64 + Send>,
    /// By how much a record's arrival differs from the clock, milliseconds. Asked for every record.
    pub jitter_ms: Box<dyn FnMut() -> i64 + Send>,
}

impl StreamOptions {
    /// Records are numbered 1, 2, 3 …, and arrive when the clock says.
    pub fn plain(shards: usize) -> Self {
        Self {
            shards,
            start: SequenceNumber::ZERO,
            gap: Box::new(|| 1),
            jitter_ms: Box::new(|| 0),
        }
    }

    /// Numbers of a few digits up to Kinesis's 56, with gaps small and large, and arrivals up to `jitter_ms` before or
    /// after the clock, as the seed decides.
    pub fn random(shards: usize, rng: &SimRng, jitter_ms: i64) -> Self {
        let (gaps, jitter) = (rng.fork(), rng.fork());
        let width = [0, 9, 18, 19, 38, 55];
        let zeros = rng.pick(&width).copied().unwrap_or_default();
        let digits = format!("{}{}", rng.between(1, 9), "7".repeat(zeros));
        Self {
            shards,
            start: SequenceNumber::from_decimal(&digits).unwrap_or(SequenceNumber::ZERO),
            gap: Box::new(move || match gaps.below(64) {
                0 => 1 + (gaps.next_u64() >> 1),
                1..=4 => 1 + gaps.below(1_000_000),
                _ => 1 + gaps.below(3),
            }),
            jitter_ms: Box::new(move || jitter.between(-jitter_ms, jitter_ms)),
        }
    }
}

impl fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamOptions({} shards, from {})", self.shards, self.start)
    }
}
