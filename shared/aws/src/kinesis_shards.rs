//! Reading the stream by shard: which shards there are, for `aggregate`; their records, for tests and for proofs of the lake.
//!
//! On AWS the event source mapping reads the stream and keeps its own positions, and the stream's retention trims it. A
//! reader's positions are therefore its own, in memory, and trimming does nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::types::ShardIteratorType;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{PortResult, Position, Shard, ShardReader, StreamRecord};

use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure::{self, damaged};
use crate::patience::Patience;

/// Most records of one `GetRecords`.
const MAX_RECORDS: i32 = 10_000;

/// The [`ShardReader`] on Kinesis.
pub struct Shards {
    client: Client,
    stream: String,
    patience: Patience,
    positions: Mutex<HashMap<(String, ShardId), Position>>,
    /// How many digits this stream writes its sequence numbers with: 56 on AWS, and elsewhere with zeros in front, which are
    /// wanted back. 0 before any was seen.
    digits: AtomicUsize,
}

impl Aws {
    /// The click stream, to be read from.
    ///
    /// # Errors
    /// The stream's name is missing.
    pub fn shards(&self, patience: Patience) -> Result<Shards, ConfigError> {
        Ok(Shards {
            client: self.kinesis(),
            stream: self.name(Resource::Stream)?,
            patience,
            positions: Mutex::default(),
            digits: AtomicUsize::new(0),
        })
    }
}

fn shard(listed: &aws_sdk_kinesis::types::Shard) -> Shard {
    let parents = [&listed.parent_shard_id, &listed.adjacent_parent_shard_id];
    Shard {
        id: listed.shard_id.as_str().into(),
        parents: parents
            .into_iter()
            .flatten()
            .map(|parent| parent.as_str().into())
            .collect(),
        closed: listed
            .sequence_number_range
            .as_ref()
            .is_some_and(|range| range.ending_sequence_number.is_some()),
    }
}

/// Every shard that Kinesis lists.
pub(crate) async fn listed(
    client: &Client,
    stream: &str,
    patience: Patience,
) -> PortResult<Vec<aws_sdk_kinesis::types::Shard>> {
    let (mut shards, mut next): (Vec<_>, Option<String>) = (Vec::new(), None);
    loop {
        // A page after the first is asked for by its token alone.
        let list = match next.take() {
            None => client.list_shards().stream_name(stream),
            Some(token) => client.list_shards().next_token(token),
        };
        let ask = || async { list.clone().send().await.map_err(failure::of_sdk) };
        let mut page = patience.run(ask).await?;
        shards.append(page.shards.get_or_insert_default());
        next = page.next_token;
        if next.is_none() {
            return Ok(shards);
        }
    }
}

/// Parents before their children. Parents that are no longer listed are not waited for.
pub(crate) fn parents_first(mut left: Vec<Shard>) -> Vec<Shard> {
    left.sort_by(|a, b| a.id.cmp(&b.id));
    let mut ordered: Vec<Shard> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |shard: &Shard, left: &[Shard]| {
            let listed = |parent: &ShardId| left.iter().any(|other| other.id == *parent);
            shard.parents.iter().any(listed)
        };
        let place = (0..left.len())
            .find(|place| !waits(&left[*place], &left))
            .unwrap_or(0);
        ordered.push(left.remove(place));
    }
    ordered
}

fn record(read: aws_sdk_kinesis::types::Record) -> PortResult<StreamRecord> {
    let arrived = read
        .approximate_arrival_timestamp
        .and_then(|at| at.to_millis().ok());
    Ok(StreamRecord {
        sequence_number: SequenceNumber::from_decimal(&read.sequence_number)
            .map_err(|_| damaged("sequence number"))?,
        arrived_at_ms: arrived.ok_or_else(|| damaged("arrival time"))?,
        data: read.data.into_inner(),
    })
}

impl Shards {
    fn saw(&self, sequence_number: &str) {
        self.digits.fetch_max(sequence_number.len(), Ordering::Relaxed);
    }

    /// The number as this stream writes it.
    async fn written(&self, number: SequenceNumber) -> PortResult<String> {
        if self.digits.load(Ordering::Relaxed) == 0 {
            self.shards().await?;
        }
        let digits = self.digits.load(Ordering::Relaxed);
        Ok(format!("{:0>digits$}", number.to_string()))
    }

    async fn iterator(&self, shard: &ShardId, after: Option<SequenceNumber>) -> PortResult<Option<String>> {
        let get = self
            .client
            .get_shard_iterator()
            .stream_name(&self.stream)
            .shard_id(&**shard);
        let get = match after {
            None => get.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Some(after) => get
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(self.written(after).await?),
        };
        let ask = || async { get.clone().send().await.map_err(failure::of_sdk) };
        Ok(self.patience.run(ask).await?.shard_iterator)
    }

    async fn records(&self, iterator: &str, limit: i32) -> PortResult<GetRecordsOutput> {
        let get = self.client.get_records().shard_iterator(iterator).limit(limit);
        let ask = || async { get.clone().send().await.map_err(failure::of_sdk) };
        self.patience.run(ask).await
    }
}

#[async_trait]
impl ShardReader for Shards {
    async fn shards(&self) -> PortResult<Vec<Shard>> {
        let listed = listed(&self.client, &self.stream, self.patience).await?;
        for range in listed.iter().filter_map(|listed| listed.sequence_number_range()) {
            self.saw(range.starting_sequence_number());
        }
        Ok(parents_first(listed.iter().map(shard).collect()))
    }

    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        limit: usize,
    ) -> PortResult<Vec<StreamRecord>> {
        let limit = i32::try_from(limit).unwrap_or(MAX_RECORDS).min(MAX_RECORDS);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut iterator = self.iterator(shard, after).await?;
        while let Some(at) = iterator {
            let output = self.records(&at, limit).await?;
            // An answer without records is no end: there may be a gap, which is read through.
            if !output.records.is_empty() {
                output
                    .records
                    .iter()
                    .for_each(|read| self.saw(&read.sequence_number));
                return output.records.into_iter().map(record).collect();
            }
            if output.millis_behind_latest.is_none_or(|behind| behind == 0) {
                break;
            }
            iterator = output.next_shard_iterator;
        }
        Ok(Vec::new())
    }

    async fn position(&self, consumer: &str, shard: &ShardId) -> PortResult<Position> {
        let positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (consumer.to_owned(), shard.clone());
        Ok(positions.get(&key).copied().unwrap_or_default())
    }

    async fn advance(&self, consumer: &str, shard: &ShardId, position: Position) -> PortResult<()> {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = positions.entry((consumer.to_owned(), shard.clone())).or_default();
        stands.done = stands.done.max(position.done);
        stands.ended |= position.ended;
        Ok(())
    }

    /// The stream's retention does it.
    async fn trim(&self, _consumers: &[&str], _before_ms: i64, _limit: usize) -> PortResult<usize> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children_whatever_their_names() {
        let shard = |id: &str, parents: &[&str]| Shard {
            id: id.into(),
            parents: parents.iter().map(|parent| ShardId::from(*parent)).collect(),
            closed: false,
        };
        let ordered = parents_first(vec![
            shard("a", &["c", "d"]),
            shard("b", &["long gone"]),
            shard("c", &["e"]),
            shard("d", &["e"]),
            shard("e", &[]),
        ]);
        let ids: Vec<&str> = ordered.iter().map(|shard| &*shard.id).collect();
        assert_eq!(ids, ["b", "e", "c", "d", "a"]);
    }
}
