//! Shards: their names, and which one a partition key belongs to.
//!
//! As Kinesis does it: the MD5 of the key, as a 128-bit number, lies in one of as many equal ranges as there are open
//! shards.

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{PortError, PortResult};
use md5::{Digest, Md5};

const PREFIX: &str = "shardId-";

/// A shard's number, which rows name it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShardNumber(pub(crate) i64);

impl ShardNumber {
    /// The shard of this name.
    pub(crate) fn of(id: &ShardId) -> PortResult<Self> {
        id.strip_prefix(PREFIX)
            .filter(|digits| digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| {
                PortError::rejected(format!("{id:?} is not a shard's name: {PREFIX} and 12 digits"))
            })
    }

    /// Its name.
    pub(crate) fn id(self) -> ShardId {
        format!("{PREFIX}{:012}", self.0).into()
    }
}

/// The stored form of a sequence number: the embedded stream's own are 63 bits wide.
pub(crate) fn stored(number: SequenceNumber) -> PortResult<i64> {
    number
        .as_u64()
        .and_then(|n| i64::try_from(n).ok())
        .ok_or_else(|| {
            PortError::rejected(format!(
                "{number} is not a sequence number of the embedded stream"
            ))
        })
}

/// The sequence number of a stored one.
pub(crate) fn sequence(stored: i64) -> SequenceNumber {
    SequenceNumber::from(stored.cast_unsigned())
}

/// The place, among `open` equal ranges, that the key's hash falls into.
pub(crate) fn place(partition_key: &str, open: usize) -> usize {
    range_of(
        u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into()),
        open,
    )
}

fn range_of(hash: u128, open: usize) -> usize {
    if open <= 1 {
        return 0;
    }
    // 2^128 / open, rounded down, without holding 2^128; the last range takes the remainder.
    let width = (u128::MAX - (open as u128 - 1)) / open as u128 + 1;
    usize::try_from(hash / width).unwrap_or(usize::MAX).min(open - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_kinesis() {
        // Starting hash keys that CreateStream gives a stream of 1, 2, 3 and 4 shards.
        let half = 170_141_183_460_469_231_731_687_303_715_884_105_728_u128;
        let third = 113_427_455_640_312_821_154_458_202_477_256_070_485_u128;
        assert_eq!((range_of(0, 1), range_of(u128::MAX, 1)), (0, 0));
        assert_eq!(
            (range_of(half - 1, 2), range_of(half, 2), range_of(u128::MAX, 2)),
            (0, 1, 1)
        );
        for open in [3, 4] {
            let width = if open == 3 { third } else { half / 2 };
            for place in 1..open {
                let start = width * place as u128;
                assert_eq!(
                    (range_of(start - 1, open), range_of(start, open)),
                    (place - 1, place)
                );
            }
            assert_eq!(range_of(u128::MAX, open), open - 1);
        }
    }

    #[test]
    fn a_key_is_hashed_with_md5() {
        // RFC 1321: MD5("a") = 0cc175b9c0f1b6a831c399e269772661, MD5("message digest") = f96b697d7cb7938d525a2f31aaf161d0.
        assert_eq!(place("a", 16), 0x0);
        assert_eq!(place("message digest", 16), 0xf);
    }

    #[test]
    fn names_and_numbers_round_trip() {
        assert_eq!(&*ShardNumber(7).id(), "shardId-000000000007");
        assert_eq!(ShardNumber::of(&ShardNumber(7).id()).unwrap(), ShardNumber(7));
        for bad in ["", "7", "shardId-7", "shardId-+00000000007", "shard-000000000007"] {
            assert!(ShardNumber::of(&bad.into()).is_err(), "{bad:?}");
        }
    }
}
