//! Which entities an hour has under a version: one item for each slice that was written.

use std::sync::{Arc, Mutex, PoisonError};

use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::PortResult;

use super::table::{Table, entity_key, entity_of, fixed};
use crate::dynamodb::item::{Item, item, list, n, number, s, text};
use crate::failure::damaged;
use aws_sdk_dynamodb::types::AttributeValue;

/// Entities of one item: 20 bytes each, of pairs 39.
const PART: usize = 9_000;

/// A list that was read: of which hour and version.
type Listed = (Hour, u64, Arc<Vec<Entity>>);

/// The index.
#[derive(Clone)]
pub(super) struct Index {
    table: Table,
    /// The list that was read last: it is asked for page by page.
    last: Arc<Mutex<Option<Listed>>>,
}

/// One item of it.
pub(super) struct Part {
    pub(super) version: u64,
    pub(super) entities: Vec<Entity>,
    sk: String,
}

fn partition(hour: Hour) -> String {
    format!("entities#{}", fixed(hour.0))
}

fn prefix(version: u64) -> String {
    format!("{version:020}#")
}

fn part(stored: &Item) -> PortResult<Part> {
    let entities = list(stored, "e")?.iter().map(|key| match key {
        AttributeValue::S(key) => entity_of(key).ok_or_else(|| damaged("e")),
        _ => Err(damaged("e")),
    });
    Ok(Part {
        version: number(stored, "v")?,
        entities: entities.collect::<PortResult<_>>()?,
        sk: text(stored, "sk")?.to_owned(),
    })
}

impl Index {
    pub(super) fn new(table: Table) -> Self {
        Self {
            table,
            last: Arc::default(),
        }
    }

    async fn put(&self, hour: Hour, version: u64, sk: &str, entities: &[Entity]) -> PortResult<()> {
        let keys = entities.iter().map(|entity| s(entity_key(*entity))).collect();
        let new = item([
            ("pk", s(partition(hour))),
            ("sk", s(sk)),
            ("v", n(version)),
            ("e", AttributeValue::L(keys)),
        ]);
        self.table.put(new).await
    }

    async fn under(&self, hour: Hour, prefix: &str) -> PortResult<Vec<Part>> {
        let to = format!("{prefix}~");
        let items = self.table.range(&partition(hour), prefix, &to, None).await?;
        items.iter().map(part).collect()
    }

    /// Every item of an hour, in the order of versions.
    pub(super) async fn parts(&self, hour: Hour) -> PortResult<Vec<Part>> {
        let items = self.table.behind(&partition(hour), None, None).await?;
        items.iter().map(part).collect()
    }

    /// Makes these entities (sorted) the slice's; answers those that were its before and are no more.
    pub(super) async fn replace(
        &self,
        hour: Hour,
        version: u64,
        slice: u32,
        entities: &[Entity],
    ) -> PortResult<Vec<Entity>> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let of_slice = format!("{}{slice:010}#", prefix(version));
        let before = self.under(hour, &of_slice).await?;
        let parts: Vec<&[Entity]> = entities.chunks(PART).collect();
        for (place, part) in parts.iter().enumerate() {
            self.put(hour, version, &format!("{of_slice}{place:03}"), part)
                .await?;
        }
        for old in before.iter().skip(parts.len()) {
            self.table.delete(&partition(hour), &old.sk).await?;
        }
        let gone = before.into_iter().flat_map(|part| part.entities);
        Ok(gone
            .filter(|entity| entities.binary_search(entity).is_err())
            .collect())
    }

    /// A version's entities, sorted; from memory, where `again` says that the same list is asked for once more.
    pub(super) async fn of_version(
        &self,
        hour: Hour,
        version: u64,
        again: bool,
    ) -> PortResult<Arc<Vec<Entity>>> {
        if again {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, _, entities)) = last.as_ref().filter(|last| (last.0, last.1) == (hour, version)) {
                return Ok(Arc::clone(entities));
            }
        }
        let parts = self.under(hour, &prefix(version)).await?;
        let mut entities: Vec<Entity> = parts.into_iter().flat_map(|part| part.entities).collect();
        entities.sort_unstable();
        entities.dedup();
        let entities = Arc::new(entities);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((hour, version, Arc::clone(&entities)));
        Ok(entities)
    }

    /// Leaves only these of an item's entities.
    pub(super) async fn shorten(&self, hour: Hour, part: &Part, entities: &[Entity]) -> PortResult<()> {
        if entities.is_empty() {
            self.table.delete(&partition(hour), &part.sk).await
        } else {
            self.put(hour, part.version, &part.sk, entities).await
        }
    }
}
