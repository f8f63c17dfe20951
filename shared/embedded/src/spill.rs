//! The spill: clicks that could not be published, hidden from others while somebody settles them.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::ports::{Outgoing, PortError, PortResult, Spill, Spilled};

use crate::group::Group;
use crate::store::Store;

/// The embedded [`Spill`]. A receipt is the row's number: it stays valid however often the record is received.
#[derive(Clone)]
pub struct SpillTable {
    store: Arc<Store>,
}

impl SpillTable {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Spill for SpillTable {
    async fn keep(&self, record: Outgoing) -> PortResult<()> {
        let keep = move |group: &mut Group<'_>| {
            group
                .conn
                .prepare_cached("INSERT INTO spill(visible_ms, partition_key, data) VALUES (?1, ?2, ?3)")?
                .execute((i64::MIN, &record.partition_key, &record.data))?;
            Ok(())
        };
        self.store.queue.submit(keep).await
    }

    async fn receive(&self, limit: usize, now_ms: i64, hidden_ms: u64) -> PortResult<Vec<Spilled>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let visible_ms = now_ms.saturating_add_unsigned(hidden_ms);
        let receive =
            move |group: &mut Group<'_>| {
                let received: Vec<Spilled> = group
                .conn
                .prepare_cached(
                    "SELECT id, partition_key, data FROM spill WHERE visible_ms <= ?1 ORDER BY id LIMIT ?2",
                )?
                .query_map([now_ms, limit], |row| {
                    let record = Outgoing { partition_key: row.get(1)?, data: row.get(2)? };
                    Ok(Spilled { receipt: row.get::<_, i64>(0)?.to_string(), record })
                })?
                .collect::<Result<_, _>>()?;
                let mut hide = group
                    .conn
                    .prepare_cached("UPDATE spill SET visible_ms = ?2 WHERE id = ?1")?;
                for spilled in &received {
                    hide.execute((&spilled.receipt, visible_ms))?;
                }
                Ok(received)
            };
        self.store.queue.submit(receive).await
    }

    async fn settled(&self, receipt: &str) -> PortResult<()> {
        let Ok(id) = receipt.parse::<i64>() else {
            return Err(PortError::rejected(format!(
                "{receipt:?} is no receipt of this spill"
            )));
        };
        let forget = move |group: &mut Group<'_>| {
            group
                .conn
                .prepare_cached("DELETE FROM spill WHERE id = ?1")?
                .execute([id])?;
            Ok(())
        };
        self.store.queue.submit(forget).await
    }
}
