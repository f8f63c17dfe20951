//! The click stream as Kinesis makes it: shards of MD5 ranges that split and merge, sequence numbers with gaps, arrival
//! times that are close to the clock.
//!
//! Invariant: numbers rise over the whole stream in the order of puts; a closed shard takes nothing more; the ranges of
//! the open shards are all of 128 bits, each once.

mod options;
mod shards;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{
    ClickStream, Clock, Outgoing, PortError, PortResult, Position, Shard, ShardReader, StreamRecord,
};

pub use self::options::StreamOptions;
use self::shards::{Range, equal_ranges, hash, name};
use super::Held;

/// Longest record with its key, and longest key, as Kinesis has them.
const MAX_RECORD_BYTES: usize = 1 << 20;
const MAX_KEY_CHARS: usize = 256;

/// [`ClickStream`] and [`ShardReader`] in memory.
#[derive(Clone)]
pub struct MemoryStream {
    clock: Arc<dyn Clock>,
    state: Held<State>,
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStream({} shards)", self.state.lock().lanes.len())
    }
}

struct State {
    lanes: Vec<Lane>,
    last: SequenceNumber,
    gap: Box<dyn FnMut() -> u64 + Send>,
    jitter_ms: Box<dyn FnMut() -> i64 + Send>,
}

/// One shard.
struct Lane {
    id: ShardId,
    parents: Vec<ShardId>,
    range: Range,
    closed_ms: Option<i64>,
    /// All records ever, the first `trimmed` of which are gone for readers.
    records: Vec<StreamRecord>,
    trimmed: usize,
    /// No longer listed.
    forgotten: bool,
    positions: BTreeMap<String, Position>,
}

impl State {
    fn open(&mut self, range: Range, parents: Vec<ShardId>) -> ShardId {
        let id = name(self.lanes.len());
        self.lanes.push(Lane {
            id: id.clone(),
            parents,
            range,
            closed_ms: None,
            records: Vec::new(),
            trimmed: 0,
            forgotten: false,
            positions: BTreeMap::new(),
        });
        id
    }

    fn lane(&mut self, shard: &ShardId) -> PortResult<&mut Lane> {
        let found = self.lanes.iter_mut().find(|lane| lane.id == *shard);
        found.ok_or_else(|| PortError::rejected(format!("there is no shard {shard}")))
    }

    fn put(&mut self, record: Outgoing, now_ms: i64) -> PortResult<()> {
        check(&record)?;
        let hash = hash(&record.partition_key);
        let mut open = self.lanes.iter_mut().filter(|lane| lane.closed_ms.is_none());
        let Some(lane) = open.find(|lane| lane.range.holds(hash)) else {
            return Err(PortError::unavailable("no shard is open for this key"));
        };
        let shard = lane.id.clone();
        self.put_on(&shard, record.data, now_ms).map(drop)
    }

    fn put_on(&mut self, shard: &ShardId, data: Vec<u8>, now_ms: i64) -> PortResult<SequenceNumber> {
        if self.lane(shard)?.closed_ms.is_some() {
            return Err(PortError::rejected(format!("the shard {shard} is closed")));
        }
        let sequence_number = shards::above(self.last, (self.gap)());
        let arrived_at_ms = now_ms + (self.jitter_ms)();
        self.last = sequence_number;
        self.lane(shard)?.records.push(StreamRecord {
            sequence_number,
            arrived_at_ms,
            data,
        });
        Ok(sequence_number)
    }
}

impl Lane {
    /// Forgets the oldest records, up to the first that is to stay and at most `limit`; says how many.
    fn trim(&mut self, limit: usize, goes: impl Fn(&StreamRecord) -> bool) -> usize {
        let kept = &self.records[self.trimmed..];
        let gone = kept.iter().take(limit).take_while(|record| goes(record)).count();
        self.trimmed += gone;
        gone
    }

    fn after(&self, after: Option<SequenceNumber>) -> &[StreamRecord] {
        let kept = &self.records[self.trimmed..];
        &kept[kept.partition_point(|record| Some(record.sequence_number) <= after)..]
    }
}

fn check(record: &Outgoing) -> PortResult<()> {
    let (chars, bytes) = (
        record.partition_key.chars().count(),
        record.data.len() + record.partition_key.len(),
    );
    if !(1..=MAX_KEY_CHARS).contains(&chars) || bytes > MAX_RECORD_BYTES {
        return Err(PortError::rejected(format!(
            "a partition key of {chars} characters, a record of {bytes} bytes"
        )));
    }
    Ok(())
}

impl MemoryStream {
    /// A stream on this clock.
    pub fn new(clock: Arc<dyn Clock>, options: StreamOptions) -> Self {
        let mut state = State {
            lanes: Vec::new(),
            last: options.start,
            gap: options.gap,
            jitter_ms: options.jitter_ms,
        };
        for range in equal_ranges(options.shards.max(1)) {
            state.open(range, Vec::new());
        }
        Self {
            clock,
            state: Held::new(state),
        }
    }

    /// Closes the shard and opens two children: of the hashes below `at` and of the others; of half of them each, if it is
    /// `None`. Nothing, if the shard is not open or `at` is not within it.
    pub fn split(&self, shard: &ShardId, at: Option<u128>) -> Option<[ShardId; 2]> {
        let mut state = self.state.lock();
        let now_ms = self.clock.now_ms();
        let lane = state.lane(shard).ok().filter(|lane| lane.closed_ms.is_none())?;
        let [low, high] = lane.range.cut(at)?;
        lane.closed_ms = Some(now_ms);
        Some([
            state.open(low, vec![shard.clone()]),
            state.open(high, vec![shard.clone()]),
        ])
    }

    /// Closes both shards and opens their child. Nothing, if they are not both open and neighbours.
    pub fn merge(&self, a: &ShardId, b: &ShardId) -> Option<ShardId> {
        let mut state = self.state.lock();
        let now_ms = self.clock.now_ms();
        let mut range = |shard| {
            let lane = state.lane(shard).ok().filter(|lane| lane.closed_ms.is_none())?;
            Some(lane.range)
        };
        let joined = range(a)?.join(range(b)?)?;
        for shard in [a, b] {
            state.lane(shard).ok()?.closed_ms = Some(now_ms);
        }
        Some(state.open(joined, vec![a.clone(), b.clone()]))
    }

    /// The open shards in the order of their hashes: neighbours can be merged.
    pub fn open_shards(&self) -> Vec<ShardId> {
        let state = self.state.lock();
        let mut open: Vec<&Lane> = state
            .lanes
            .iter()
            .filter(|lane| lane.closed_ms.is_none())
            .collect();
        open.sort_by_key(|lane| lane.range);
        open.into_iter().map(|lane| lane.id.clone()).collect()
    }

    /// The open shard that a record of this key would come to.
    pub fn shard_of(&self, partition_key: &str) -> Option<ShardId> {
        let (hash, state) = (hash(partition_key), self.state.lock());
        let mut open = state.lanes.iter().filter(|lane| lane.closed_ms.is_none());
        open.find(|lane| lane.range.holds(hash))
            .map(|lane| lane.id.clone())
    }

    /// Every shard that ever was, parents before children.
    pub fn all_shards(&self) -> Vec<ShardId> {
        self.state
            .lock()
            .lanes
            .iter()
            .map(|lane| lane.id.clone())
            .collect()
    }

    /// All records that the shard ever took, also those that are trimmed; none of a shard that never was.
    pub fn all_records(&self, shard: &ShardId) -> Vec<StreamRecord> {
        let mut state = self.state.lock();
        state
            .lane(shard)
            .map(|lane| lane.records.clone())
            .unwrap_or_default()
    }

    /// How many records all shards ever took.
    pub fn len(&self) -> usize {
        self.state
            .lock()
            .lanes
            .iter()
            .map(|lane| lane.records.len())
            .sum()
    }

    /// Whether no shard ever took a record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the consumer back (or ahead) to where only records up to `to` are done, as a replay does; the rule that
    /// positions never go back is not asked. Nothing, if there is no such shard.
    pub fn rewind(&self, consumer: &str, shard: &ShardId, to: Option<SequenceNumber>) {
        let position = Position {
            done: to,
            ended: false,
        };
        if let Ok(lane) = self.state.lock().lane(shard) {
            lane.positions.insert(consumer.to_owned(), position);
        }
    }

    /// Puts a record on this shard, as an explicit hash key does; says its number there.
    ///
    /// # Errors
    /// [`PortError::Rejected`] where the shard is closed, or there is none of this name.
    pub fn put_on(&self, shard: &ShardId, data: Vec<u8>) -> PortResult<SequenceNumber> {
        let (mut state, now_ms) = (self.state.lock(), self.clock.now_ms());
        state.put_on(shard, data, now_ms)
    }

    /// Retention as Kinesis has it: forgets the records that arrived before `before_ms`, whoever still needs them; says
    /// how many.
    pub fn expire(&self, before_ms: i64) -> usize {
        let mut state = self.state.lock();
        let old = |record: &StreamRecord| record.arrived_at_ms < before_ms;
        state
            .lanes
            .iter_mut()
            .map(|lane| lane.trim(usize::MAX, old))
            .sum()
    }
}

#[async_trait]
impl ClickStream for MemoryStream {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        let (mut state, now_ms) = (self.state.lock(), self.clock.now_ms());
        records
            .into_iter()
            .map(|record| state.put(record, now_ms))
            .collect()
    }
}

#[async_trait]
impl ShardReader for MemoryStream {
    async fn shards(&self) -> PortResult<Vec<Shard>> {
        let state = self.state.lock();
        let known = |id: &&ShardId| state.lanes.iter().any(|lane| lane.id == **id && !lane.forgotten);
        let listed = state
            .lanes
            .iter()
            .filter(|lane| !lane.forgotten)
            .map(|lane| Shard {
                id: lane.id.clone(),
                parents: lane.parents.iter().filter(known).cloned().collect(),
                closed: lane.closed_ms.is_some(),
            });
        Ok(listed.collect())
    }

    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        limit: usize,
    ) -> PortResult<Vec<StreamRecord>> {
        let mut state = self.state.lock();
        Ok(state
            .lane(shard)?
            .after(after)
            .iter()
            .take(limit)
            .cloned()
            .collect())
    }

    async fn position(&self, consumer: &str, shard: &ShardId) -> PortResult<Position> {
        let mut state = self.state.lock();
        Ok(state
            .lane(shard)?
            .positions
            .get(consumer)
            .copied()
            .unwrap_or_default())
    }

    async fn advance(&self, consumer: &str, shard: &ShardId, position: Position) -> PortResult<()> {
        let mut state = self.state.lock();
        let stored = state
            .lane(shard)?
            .positions
            .entry(consumer.to_owned())
            .or_default();
        stored.done = stored.done.max(position.done);
        stored.ended |= position.ended;
        Ok(())
    }

    async fn trim(&self, consumers: &[&str], before_ms: i64, limit: usize) -> PortResult<usize> {
        let mut state = self.state.lock();
        let mut left = limit;
        for lane in &mut state.lanes {
            let done = |consumer: &&str| lane.positions.get(*consumer).and_then(|position| position.done);
            // Without consumers nobody needs anything.
            let wanted = consumers.iter().map(done).min();
            let goes = |record: &StreamRecord| {
                record.arrived_at_ms < before_ms
                    && wanted.is_none_or(|done| Some(record.sequence_number) <= done)
            };
            left -= lane.trim(left, goes);
        }
        // As long as a shard is known, so is the way from its children to its ancestors.
        for place in 0..state.lanes.len() {
            let lane = &state.lanes[place];
            let known = |id: &ShardId| {
                state
                    .lanes
                    .iter()
                    .any(|other| other.id == *id && !other.forgotten)
            };
            let forgotten = lane.closed_ms.is_some_and(|closed_ms| closed_ms < before_ms)
                && lane.trimmed == lane.records.len()
                && !lane.parents.iter().any(known);
            state.lanes[place].forgotten |= forgotten;
        }
        Ok(limit - left)
    }
}
