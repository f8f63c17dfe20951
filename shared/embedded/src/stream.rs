//! The click stream: publishing, and reading by shard.
//!
//! Invariant: sequence numbers rise over the whole store in the order of commits, so that a shard's reader never sees a
//! record below one that it has already seen.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{
    ClickStream, Outgoing, PortError, PortResult, Position, Shard, ShardReader, StreamRecord,
};
use rusqlite::{Connection, OptionalExtension};

use crate::failure::Failure;
use crate::segment::Records;
use crate::shards::{self, ShardNumber};
use crate::store::Store;
use crate::trim;

/// Longest record and longest partition key, as Kinesis has them: what fits here fits there.
const MAX_RECORD_BYTES: usize = 1 << 20;
const MAX_KEY_CHARS: usize = 256;

/// The embedded [`ClickStream`] and [`ShardReader`].
#[derive(Clone)]
pub struct Stream {
    store: Arc<Store>,
}

impl Stream {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

fn check(record: &Outgoing) -> PortResult<()> {
    let key_chars = record.partition_key.chars().count();
    if !(1..=MAX_KEY_CHARS).contains(&key_chars) {
        return Err(PortError::rejected(format!(
            "a partition key has 1 to 256 characters, not {key_chars}"
        )));
    }
    let bytes = record.data.len() + record.partition_key.len();
    if bytes > MAX_RECORD_BYTES {
        return Err(PortError::rejected(format!(
            "a record with its key has at most 1 MiB, not {bytes} bytes"
        )));
    }
    Ok(())
}

#[async_trait]
impl ClickStream for Stream {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        let mut outcomes: Vec<PortResult<()>> = records.iter().map(check).collect();
        // Hashed here, not in the writer thread, which everybody waits for.
        let open = self.store.open_shards;
        let placed: Vec<(usize, Vec<u8>)> = records
            .into_iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(record, _)| (shards::place(&record.partition_key, open), record.data))
            .collect();
        let published = self.store.queue.submit(move |group| {
            for (place, data) in &placed {
                group.publish(*place, data);
            }
            Ok(())
        });
        if let Err(error) = published.await {
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                *outcome = Err(error.clone());
            }
        }
        outcomes
    }
}

#[async_trait]
impl ShardReader for Stream {
    async fn shards(&self) -> PortResult<Vec<Shard>> {
        self.store.readers.read(list).await
    }

    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        limit: usize,
    ) -> PortResult<Vec<StreamRecord>> {
        let shard = ShardNumber::of(shard)?;
        let after = after.map_or(Ok(0), shards::stored)?;
        self.store
            .readers
            .read(move |conn| read(conn, shard, after, limit))
            .await
    }

    async fn position(&self, consumer: &str, shard: &ShardId) -> PortResult<Position> {
        let (shard, consumer) = (ShardNumber::of(shard)?, consumer.to_owned());
        let position = move |conn: &Connection| {
            let found = conn
                .prepare_cached("SELECT done, ended FROM positions WHERE shard = ?1 AND consumer = ?2")?
                .query_row((shard.0, consumer), |row| {
                    Ok((row.get::<_, i64>(0)?, row.get(1)?))
                })
                .optional()?;
            let (done, ended) = found.unwrap_or((0, false));
            Ok(Position {
                done: (done > 0).then(|| shards::sequence(done)),
                ended,
            })
        };
        self.store.readers.read(position).await
    }

    async fn advance(&self, consumer: &str, shard: &ShardId, position: Position) -> PortResult<()> {
        let (shard, consumer) = (ShardNumber::of(shard)?, consumer.to_owned());
        let done = position.done.map_or(Ok(0), shards::stored)?;
        let advance = move |group: &mut crate::group::Group<'_>| {
            group
                .conn
                .prepare_cached(
                    "INSERT INTO positions(shard, consumer, done, ended) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET done = max(done, excluded.done), ended = max(ended, excluded.ended)",
                )?
                .execute((shard.0, &consumer, done, position.ended))?;
            Ok(())
        };
        self.store.queue.submit(advance).await
    }

    async fn trim(&self, consumers: &[&str], before_ms: i64, limit: usize) -> PortResult<usize> {
        let consumers: Arc<[String]> = consumers.iter().map(|consumer| (*consumer).to_owned()).collect();
        let mut records = 0;
        loop {
            let (consumers, left) = (Arc::clone(&consumers), limit - records);
            let trim = move |group: &mut crate::group::Group<'_>| {
                trim::trim(group.conn, &consumers, before_ms, left)
            };
            let trimmed = self.store.queue.submit(trim).await?;
            records += trimmed.records;
            if !trimmed.more {
                return Ok(records);
            }
        }
    }
}

/// All shards that are not forgotten; a parent's number is lower than its children's.
fn list(conn: &Connection) -> Result<Vec<Shard>, Failure> {
    // One statement, so that one state is seen.
    let mut select = conn.prepare_cached(
        "SELECT shard, place IS NULL, parent FROM shards LEFT JOIN shard_parents USING (shard)
         WHERE parent IS NULL OR parent IN (SELECT shard FROM shards) ORDER BY shard, parent",
    )?;
    let mut rows = select.query([])?;
    let mut found: Vec<Shard> = Vec::new();
    while let Some(row) = rows.next()? {
        let id = ShardNumber(row.get(0)?).id();
        if found.last().is_none_or(|shard| shard.id != id) {
            found.push(Shard {
                id,
                parents: Vec::new(),
                closed: row.get(1)?,
            });
        }
        if let (Some(shard), Some(parent)) = (found.last_mut(), row.get::<_, Option<i64>>(2)?) {
            shard.parents.push(ShardNumber(parent).id());
        }
    }
    Ok(found)
}

fn read(
    conn: &Connection,
    shard: ShardNumber,
    after: i64,
    limit: usize,
) -> Result<Vec<StreamRecord>, Failure> {
    let mut select = conn.prepare_cached(
        "SELECT first, arrived_ms, records FROM stream WHERE shard = ?1 AND last > ?2 ORDER BY last",
    )?;
    let mut rows = select.query((shard.0, after))?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let (first, arrived_at_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
        let segment = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        for (number, record) in (first..).zip(Records::of(segment)) {
            let data = record?;
            if number > after && found.len() < limit {
                let sequence_number = shards::sequence(number);
                found.push(StreamRecord {
                    sequence_number,
                    arrived_at_ms,
                    data: data.to_vec(),
                });
            }
        }
    }
    Ok(found)
}
