//! Hash-key ranges and names of shards, and the counting of sequence numbers.

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use md5::{Digest, Md5};

/// The hashes from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    first: u128,
    last: u128,
}

impl Range {
    pub(super) fn holds(self, hash: u128) -> bool {
        (self.first..=self.last).contains(&hash)
    }

    /// What is below `at` (the middle, if it is `None`) and what is not; `None`, if one of them would be empty.
    pub(super) fn cut(self, at: Option<u128>) -> Option<[Range; 2]> {
        let at = at.unwrap_or(self.first + (self.last - self.first) / 2 + 1);
        let within = self.first < at && at <= self.last;
        within.then_some([
            Range {
                first: self.first,
                last: at.saturating_sub(1),
            },
            Range {
                first: at,
                last: self.last,
            },
        ])
    }

    /// Both in one, if they are neighbours.
    pub(super) fn join(self, other: Range) -> Option<Range> {
        let (low, high) = (self.min(other), self.max(other));
        (low.last.checked_add(1) == Some(high.first)).then_some(Range {
            first: low.first,
            last: high.last,
        })
    }
}

/// All hashes in as many equal ranges, the last of which takes the remainder.
pub(super) fn equal_ranges(count: usize) -> Vec<Range> {
    let count = count.max(1) as u128;
    // 2^128 / count, rounded down, without holding 2^128.
    let width = match count {
        1 => u128::MAX,
        _ => (u128::MAX - (count - 1)) / count + 1,
    };
    let range = |place| Range {
        first: width * place,
        last: if place + 1 == count {
            u128::MAX
        } else {
            width * (place + 1) - 1
        },
    };
    (0..count).map(range).collect()
}

/// Where a partition key lies.
pub(super) fn hash(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// The name of the shard that was opened as this one.
pub(super) fn name(number: usize) -> ShardId {
    format!("shardId-{number:012}").into()
}

/// The number that is higher by `gap`, or by 1, if that is 0.
pub(super) fn above(number: SequenceNumber, gap: u64) -> SequenceNumber {
    let mut bytes = *number.as_bytes();
    let mut carry = u128::from(gap.max(1));
    for byte in bytes.iter_mut().rev() {
        if carry == 0 {
            break;
        }
        carry += u128::from(*byte);
        *byte = carry as u8;
        carry >>= 8;
    }
    SequenceNumber::from_bytes(&bytes).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ranges_hold_every_hash_once() {
        for count in 1..=9 {
            let ranges = equal_ranges(count);
            assert_eq!(ranges.len(), count);
            assert_eq!((ranges[0].first, ranges[count - 1].last), (0, u128::MAX));
            assert!(ranges.windows(2).all(|two| two[0].last + 1 == two[1].first));
        }
        // Starting hash keys that CreateStream gives a stream of 3 shards.
        let third = 113_427_455_640_312_821_154_458_202_477_256_070_485;
        assert_eq!(equal_ranges(3)[1].first, third);
    }

    #[test]
    fn cut_ranges_join_again() {
        let [low, high] = equal_ranges(2)[1].cut(None).unwrap();
        assert_eq!(low.join(high), Some(equal_ranges(2)[1]));
        assert_eq!(high.join(low), Some(equal_ranges(2)[1]));
        assert_eq!(equal_ranges(2)[0].join(high), None);
        assert_eq!(low.cut(Some(low.first)), None, "nothing would be below");
        assert_eq!(low.cut(Some(high.first)), None, "not within");
        let [single, _] = low.cut(Some(low.first + 1)).unwrap();
        assert_eq!(single.cut(None), None, "one hash cannot be cut");
    }

    #[test]
    fn numbers_carry_over() {
        let number = |text: &str| SequenceNumber::from_decimal(text).unwrap();
        assert_eq!(
            above(number("18446744073709551615"), 1),
            number("18446744073709551616")
        );
        assert_eq!(above(number("5"), 0), number("6"));
        let kinesis = "49590338271490256608559692538361571095921575989136588899";
        assert_eq!(
            above(number(kinesis), 101).to_string(),
            kinesis.replace("588899", "589000")
        );
        assert_eq!(above(SequenceNumber::ZERO, u64::MAX).as_u64(), Some(u64::MAX));
    }
}
