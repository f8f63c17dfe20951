//! Rulings: one row for each click and kind, never changed.

use async_trait::async_trait;
use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::ruling::{Ruling, RulingKind};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortResult, Rulings};
use rusqlite::{Connection, Row};

use super::{Seals, click_id, limited};
use crate::failure::{Damaged, Failure};
use crate::group::Group;

fn ruling(row: &Row<'_>) -> Result<Ruling, Failure> {
    Ok(Ruling {
        click_id: click_id(row, 0)?,
        kind: RulingKind::from_number(row.get(1)?).ok_or(Damaged("ruling"))?,
        other: click_id(row, 2)?,
    })
}

#[async_trait]
impl Rulings for Seals {
    async fn rule(&self, ruling: Ruling) -> PortResult<Ruling> {
        let rule = move |group: &mut Group<'_>| {
            let hour = Hour::of(ruling.click_id.unix_ms());
            let (click_id, kind) = (ruling.click_id.to_bytes(), ruling.kind as u8);
            let other = ruling.other.to_bytes();
            group
                .conn
                .prepare_cached(
                    "INSERT OR IGNORE INTO rulings(hour, click_id, kind, other) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((hour.0, click_id, kind, other))?;
            let mut select = group.conn.prepare_cached(
                "SELECT click_id, kind, other FROM rulings WHERE hour = ?1 AND click_id = ?2 AND kind = ?3",
            )?;
            select.query_row((hour.0, click_id, kind), |row| Ok(self::ruling(row)))?
        };
        self.store.queue.submit(rule).await
    }

    async fn of_hour(
        &self,
        hour: Hour,
        after: Option<(ClickId, RulingKind)>,
        limit: usize,
    ) -> PortResult<Vec<Ruling>> {
        // Kinds begin at 1.
        let (click_id, kind) =
            after.map_or(([0; 16], 0), |(click_id, kind)| (click_id.to_bytes(), kind as u8));
        let query = move |conn: &Connection| {
            let mut select = conn.prepare_cached(
                "SELECT click_id, kind, other FROM rulings
                 WHERE hour = ?1 AND (click_id, kind) > (?2, ?3) ORDER BY click_id, kind LIMIT ?4",
            )?;
            let mut rows = select.query((hour.0, click_id, kind, limited(limit)))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(ruling(row)?);
            }
            Ok(found)
        };
        self.store.readers.read(query).await
    }
}
