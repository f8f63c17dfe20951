//! The click stream: publishing to it, and reading it by shard.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::bucket::ShardId;
use crate::domain::sequence::SequenceNumber;

/// One record to be put on the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Chooses the shard: Kinesis's MD5 hash-key ranges.
    pub partition_key: String,
    /// The record's line.
    pub data: Vec<u8>,
}

/// Publishing.
///
/// Contract: an `Ok` record is durable and will be read, once or (where an earlier try's answer was lost) more often;
/// records of one partition key that are published one after another are read in that order.
#[async_trait]
pub trait ClickStream: Send + Sync {
    /// Publishes records; the outcomes are in their order. An adapter may try failed records again by itself.
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>>;
}

/// One record as read from a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// When the stream took it, Unix milliseconds; close to monotonic within a shard, not exactly.
    pub arrived_at_ms: i64,
    /// Its line.
    pub data: Vec<u8>,
}

/// A shard of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name.
    pub id: ShardId,
    /// The shards that it came from by splitting or merging, where they are still known.
    pub parents: Vec<ShardId>,
    /// Whether nothing more can be put on it.
    pub closed: bool,
}

/// Where a consumer stands in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Everything up to here is done; `None` before the first record.
    pub done: Option<SequenceNumber>,
    /// Whether a closed shard was read to its end.
    pub ended: bool,
}

/// Reading by shard: what the pump works with, where no event source mapping does it.
#[async_trait]
pub trait ShardReader: Send + Sync {
    /// All shards that still hold records or may get some, parents before children.
    async fn shards(&self) -> PortResult<Vec<Shard>>;
    /// Records of the shard after `after`, in order, at most `limit`; empty where there is none now.
    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        limit: usize,
    ) -> PortResult<Vec<StreamRecord>>;
    /// Where this consumer stands.
    async fn position(&self, consumer: &str, shard: &ShardId) -> PortResult<Position>;
    /// Moves the consumer on. A position never goes back by this call.
    async fn advance(&self, consumer: &str, shard: &ShardId, position: Position) -> PortResult<()>;
    /// Forgets records that arrived before `before_ms` and that every one of `consumers` is done with, at most `limit`
    /// of them; says how many. A stream with retention of its own does nothing.
    async fn trim(&self, consumers: &[&str], before_ms: i64, limit: usize) -> PortResult<usize>;
}
