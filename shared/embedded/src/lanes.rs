//! Lane logs: one row for each committed sub-batch, its ids packed 16 bytes each.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::lane::LaneItem;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{LaneLog, PortResult};
use rusqlite::{Connection, Row};

use crate::failure::{Damaged, Failure};
use crate::group::Group;
use crate::shards::{self, ShardNumber};
use crate::store::Store;

/// Items that one commit group forgets, at most: an item is up to some ten pages, and clicks wait for their group.
const EXPIRE_ITEMS: u16 = 50;

/// By the primary key's index, oldest first.
pub(crate) const EXPIRE: &str = "DELETE FROM lanes WHERE rowid IN (
    SELECT rowid FROM lanes WHERE shard = ?1 AND last <= ?2 AND last_arrival_ms < ?3 ORDER BY last LIMIT ?4)";

/// The embedded [`LaneLog`].
#[derive(Clone)]
pub struct Lanes {
    store: Arc<Store>,
}

impl Lanes {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

fn pack(ids: &[ClickId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_bytes()).collect()
}

fn unpack(row: &Row<'_>, place: usize) -> Result<Vec<ClickId>, Failure> {
    let bytes = row.get_ref(place)?.as_blob().map_err(rusqlite::Error::from)?;
    let (ids, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(Damaged("lane log").into());
    }
    Ok(ids.iter().map(|id| ClickId::from_bytes(*id)).collect())
}

fn item_of(row: &Row<'_>) -> Result<LaneItem, Failure> {
    Ok(LaneItem {
        last: shards::sequence(row.get(0)?),
        first_arrival_ms: row.get(1)?,
        last_arrival_ms: row.get(2)?,
        ids: unpack(row, 3)?,
        late_ids: unpack(row, 4)?,
    })
}

/// The item that is there already.
fn there(conn: &Connection, shard: ShardNumber, last: i64) -> Result<Option<LaneItem>, Failure> {
    let mut select = conn.prepare_cached(
        "SELECT last, first_arrival_ms, last_arrival_ms, ids, late_ids FROM lanes WHERE shard = ?1 AND last = ?2",
    )?;
    let mut rows = select.query((shard.0, last))?;
    rows.next()?.map(item_of).transpose()
}

#[async_trait]
impl LaneLog for Lanes {
    async fn append(&self, shard: &ShardId, item: LaneItem) -> PortResult<()> {
        let (shard, last) = (ShardNumber::of(shard)?, shards::stored(item.last)?);
        let append = move |group: &mut Group<'_>| {
            let item = match there(group.conn, shard, last)? {
                Some(there) => there.joined(item),
                None => item,
            };
            let (ids, late_ids) = (pack(&item.ids), pack(&item.late_ids));
            group
                .conn
                .prepare_cached(
                    "INSERT OR REPLACE INTO lanes(shard, last, first_arrival_ms, last_arrival_ms, ids, late_ids)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute((shard.0, last, item.first_arrival_ms, item.last_arrival_ms, &ids, &late_ids))?;
            Ok(())
        };
        self.store.queue.submit(append).await
    }

    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        since_ms: i64,
    ) -> PortResult<Vec<LaneItem>> {
        let shard = ShardNumber::of(shard)?;
        let after = after.map_or(Ok(-1), shards::stored)?;
        let query = move |conn: &Connection| {
            let mut select = conn.prepare_cached(
                "SELECT last, first_arrival_ms, last_arrival_ms, ids, late_ids FROM lanes
                 WHERE shard = ?1 AND last > ?2 AND last_arrival_ms >= ?3 ORDER BY last",
            )?;
            let (mut rows, mut found) = (select.query((shard.0, after, since_ms))?, Vec::new());
            while let Some(row) = rows.next()? {
                found.push(item_of(row)?);
            }
            Ok(found)
        };
        self.store.readers.read(query).await
    }

    async fn expire(&self, shard: &ShardId, up_to: SequenceNumber, before_ms: i64) -> PortResult<usize> {
        let (shard, up_to) = (ShardNumber::of(shard)?, shards::stored(up_to)?);
        let mut expired = 0;
        loop {
            let some = move |group: &mut Group<'_>| {
                let mut delete = group.conn.prepare_cached(EXPIRE)?;
                Ok(delete.execute((shard.0, up_to, before_ms, EXPIRE_ITEMS))?)
            };
            let some = self.store.queue.submit(some).await?;
            expired += some;
            if some < usize::from(EXPIRE_ITEMS) {
                return Ok(expired);
            }
        }
    }
}
