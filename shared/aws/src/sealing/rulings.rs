//! Rulings: one item for each, under the hour of its click's own time.

use async_trait::async_trait;
use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::ruling::{Ruling, RulingKind};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortResult, Rulings};

use super::Hours;
use super::table::{Conditional, fixed};
use crate::dynamodb::item::{Item, b, bytes, item, n, number, s};
use crate::failure::damaged;

fn partition(hour: Hour) -> String {
    format!("rulings#{}", fixed(hour.0))
}

/// Hexadecimal digits sort as the bytes do.
fn sort_key(click_id: ClickId, kind: RulingKind) -> String {
    format!("{:032x}#{}", click_id.0, kind as u8)
}

fn click(item: &Item, name: &str) -> PortResult<ClickId> {
    let bytes = bytes(item, name)?.try_into().map_err(|_| damaged(name))?;
    Ok(ClickId::from_bytes(bytes))
}

fn ruling(item: &Item) -> PortResult<Ruling> {
    Ok(Ruling {
        click_id: click(item, "click_id")?,
        kind: RulingKind::from_number(number(item, "kind")?).ok_or_else(|| damaged("kind"))?,
        other: click(item, "other")?,
    })
}

#[async_trait]
impl Rulings for Hours {
    async fn rule(&self, new: Ruling) -> PortResult<Ruling> {
        let put = item([
            ("pk", s(partition(Hour::of(new.click_id.unix_ms())))),
            ("sk", s(sort_key(new.click_id, new.kind))),
            ("click_id", b(new.click_id.to_bytes())),
            ("kind", n(new.kind as u8)),
            ("other", b(new.other.to_bytes())),
        ]);
        match self.table.put_if_absent(put).await? {
            Conditional::Applied(_) => Ok(new),
            Conditional::Refused(stored) => ruling(&stored),
        }
    }

    async fn of_hour(
        &self,
        hour: Hour,
        after: Option<(ClickId, RulingKind)>,
        limit: usize,
    ) -> PortResult<Vec<Ruling>> {
        let after = after.map(|(click_id, kind)| sort_key(click_id, kind));
        let items = self
            .table
            .behind(&partition(hour), after.as_deref(), Some(limit))
            .await?;
        items.iter().map(ruling).collect()
    }
}
