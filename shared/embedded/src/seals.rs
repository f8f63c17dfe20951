//! All that sealing stores: marks and manifests, leases, counts under versions, rulings, corrections and reports.
//!
//! Invariant: every condition is judged in the writer's transaction that also changes what it is about. Calls with many
//! rows are cut into several groups, since clicks wait for the group before theirs: where a crash falls between them, the
//! call is made again, and replaces what it left.

mod leases;
mod manifests;
mod reports;
mod rulings;
mod sealed_counts;

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ClickId, PlacementId};
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{Manifests, PortResult, SealStore};
use rusqlite::{Connection, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Damaged, Failure};
use crate::hot::{PAIR, stored};
use crate::store::Store;

#[cfg(test)]
pub(crate) use sealed_counts::{
    DAY_VERSIONS, FORGET_DAYS, FORGET_HOURS, HAS_PLACEMENT, HOUR_VERSIONS, NEXT_PLACEMENT,
};

/// The embedded [`SealStore`], [`Manifests`], [`Leases`](clickledger_core::ports::Leases),
/// [`SealedCounts`](clickledger_core::ports::SealedCounts), [`Rulings`](clickledger_core::ports::Rulings) and
/// [`SealReports`](clickledger_core::ports::SealReports).
#[derive(Clone)]
pub struct Seals {
    store: Arc<Store>,
}

impl Seals {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

/// Adds a mark to an hour's manifest.
pub(crate) fn mark(conn: &Connection, hour: Hour) -> Result<(), Failure> {
    mark_as(conn, hour, 0)
}

/// The same; `quarantined` is 1 where it is for counts in quarantine.
fn mark_as(conn: &Connection, hour: Hour, quarantined: u64) -> Result<(), Failure> {
    let mut manifest = manifests::stored(conn, hour)?;
    manifest.marks += 1;
    manifest.quarantined += quarantined;
    if manifest.is_provisional() {
        manifests::set_aside(conn, hour.day())?;
    }
    manifests::put(conn, &manifest)
}

/// A version, fence or generation of a row.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}

/// A page's size as SQL takes it.
fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// An entity as rows of sealed counts name it: its kind, its id, and of a pair the placement.
pub(crate) fn sealed_key(entity: Entity) -> (i64, i64, i64) {
    let (kind, id) = stored(entity);
    match entity {
        Entity::AdvertiserPlacement(_, placement) => (kind, id, placement.0.cast_signed()),
        _ => (kind, id, 0),
    }
}

/// An entity of a row; `other` is a pair's placement, else 0.
pub(crate) fn entity(kind: i64, id: i64, other: i64) -> Option<Entity> {
    let number = id.cast_unsigned();
    if kind == PAIR {
        let placement = PlacementId(other.cast_unsigned());
        return (other > 0).then_some(Entity::AdvertiserPlacement(AdvertiserId(number), placement));
    }
    match kind {
        _ if other != 0 => None,
        1 => Some(Entity::Ad(AdId(number))),
        2 => Some(Entity::Campaign(CampaignId(number))),
        3 => Some(Entity::Advertiser(AdvertiserId(number))),
        4 => Some(Entity::Placement(PlacementId(number))),
        5 => Some(Entity::Total),
        _ => None,
    }
}

/// An entity that has its kind and id in these columns, and if it may be a pair its placement.
fn entity_of(row: &Row<'_>, [kind, id]: [usize; 2], other: Option<usize>) -> Result<Entity, Failure> {
    let other = other.map_or(Ok(0), |column| row.get(column))?;
    Ok(entity(row.get(kind)?, row.get(id)?, other).ok_or(Damaged("entity"))?)
}

fn click_id(row: &Row<'_>, column: usize) -> Result<ClickId, Failure> {
    let bytes = row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?;
    let bytes = bytes.try_into().map_err(|_| Damaged("click id"))?;
    Ok(ClickId::from_bytes(bytes))
}

fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], Failure> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|_| Damaged("report or manifest").into())
}

fn of_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, Failure> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    serde_json::from_str(text).map_err(|_| Damaged("report or manifest").into())
}

#[async_trait]
impl SealStore for Seals {
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()> {
        let hours = hours.to_vec();
        let mark = self.store.queue.submit(move |group| {
            for hour in hours {
                mark(group.conn, hour)?;
            }
            Ok(())
        });
        mark.await
    }

    async fn mark_quarantined(&self, hour: Hour) -> PortResult<()> {
        let mark = self.store.queue.submit(move |group| mark_as(group.conn, hour, 1));
        mark.await
    }

    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>> {
        let manifests = self.hours(from, to).await?;
        let dirty = manifests.iter().filter(|manifest| manifest.is_dirty());
        Ok(dirty.map(|manifest| manifest.hour).collect())
    }
}
