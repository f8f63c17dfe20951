//! The hours' states: so far, which ones hold clicks that live counting left out.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortResult, SealStore};
use rusqlite::Connection;

use crate::store::Store;

/// The embedded [`SealStore`].
#[derive(Clone)]
pub struct Seals {
    store: Arc<Store>,
}

impl Seals {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl SealStore for Seals {
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()> {
        let hours = hours.to_vec();
        let mark = self.store.queue.submit(move |group| {
            let mut insert = group
                .conn
                .prepare_cached("INSERT OR IGNORE INTO dirty_hours(hour) VALUES (?1)")?;
            for hour in hours {
                insert.execute([hour.0])?;
            }
            Ok(())
        });
        mark.await
    }

    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>> {
        let query = move |conn: &Connection| {
            let hours = conn
                .prepare_cached("SELECT hour FROM dirty_hours WHERE hour >= ?1 AND hour < ?2 ORDER BY hour")?
                .query_map([from.0, to.0], |row| row.get(0).map(Hour))?
                .collect::<Result<_, _>>()?;
            Ok(hours)
        };
        self.store.readers.read(query).await
    }
}
