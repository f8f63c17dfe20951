//! Manifests of hours (as JSON, so that fields can come) and of days.

use async_trait::async_trait;
use clickledger_core::domain::manifest::{DayManifest, Manifest};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::{Manifests, PortResult};
use rusqlite::{Connection, OptionalExtension};

use super::{Seals, of_json, to_json, unsigned};
use crate::failure::Failure;
use crate::group::Group;

/// The manifest of an hour, as it is stored or as it would be.
pub(super) fn stored(conn: &Connection, hour: Hour) -> Result<Manifest, Failure> {
    let found = conn
        .prepare_cached("SELECT body FROM manifests WHERE hour = ?1")?
        .query_row([hour.0], |row| Ok(of_json(row, 0)))
        .optional()?;
    found.unwrap_or_else(|| Ok(Manifest::open(hour)))
}

/// Stores a manifest.
pub(super) fn put(conn: &Connection, manifest: &Manifest) -> Result<(), Failure> {
    let body = to_json(manifest)?;
    conn.prepare_cached("INSERT OR REPLACE INTO manifests(hour, body) VALUES (?1, ?2)")?
        .execute((manifest.hour.0, body))?;
    Ok(())
}

fn stored_day(conn: &Connection, day: Day) -> Result<DayManifest, Failure> {
    let found = conn
        .prepare_cached("SELECT version, generation FROM day_manifests WHERE day = ?1")?
        .query_row([day.0], |row| {
            Ok(DayManifest {
                day,
                version: unsigned(row, 0)?,
                generation: unsigned(row, 1)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_else(|| DayManifest::open(day)))
}

fn put_day(conn: &Connection, manifest: &DayManifest) -> Result<(), Failure> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO day_manifests(day, version, generation) VALUES (?1, ?2, ?3)",
    )?
    .execute((
        manifest.day.0,
        manifest.version.cast_signed(),
        manifest.generation.cast_signed(),
    ))?;
    Ok(())
}

/// Readers take the day's counts from its hours from now on.
pub(super) fn set_aside(conn: &Connection, day: Day) -> Result<(), Failure> {
    let mut day = stored_day(conn, day)?;
    day.version = 0;
    day.generation += 1;
    put_day(conn, &day)
}

fn flip(group: &Group<'_>, new: &Manifest) -> Result<bool, Failure> {
    let stored = stored(group.conn, new.hour)?;
    let flipped = Manifest {
        revision: new.revision + 1,
        marks: stored.marks,
        quarantined: stored.quarantined,
        ..new.clone()
    };
    if stored.revision != new.revision {
        // An earlier try of this very call may have been applied.
        return Ok(stored == flipped);
    }
    if stored.sets_day_aside(&flipped) {
        set_aside(group.conn, flipped.hour.day())?;
    }
    put(group.conn, &flipped)?;
    Ok(true)
}

#[async_trait]
impl Manifests for Seals {
    async fn hours(&self, from: Hour, to: Hour) -> PortResult<Vec<Manifest>> {
        let query = move |conn: &Connection| {
            let mut select = conn
                .prepare_cached("SELECT body FROM manifests WHERE hour >= ?1 AND hour < ?2 ORDER BY hour")?;
            let (mut rows, mut found) = (select.query([from.0, to.0])?, Vec::new());
            while let Some(row) = rows.next()? {
                found.push(of_json(row, 0)?);
            }
            Ok(found)
        };
        self.store.readers.read(query).await
    }

    async fn days(&self, from: Day, to: Day) -> PortResult<Vec<DayManifest>> {
        let query = move |conn: &Connection| {
            let days = conn
                .prepare_cached(
                    "SELECT day, version, generation FROM day_manifests WHERE day >= ?1 AND day < ?2 ORDER BY day",
                )?
                .query_map([from.0, to.0], |row| {
                    Ok(DayManifest {
                        day: Day(row.get(0)?),
                        version: unsigned(row, 1)?,
                        generation: unsigned(row, 2)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            Ok(days)
        };
        self.store.readers.read(query).await
    }

    async fn flip(&self, new: &Manifest) -> PortResult<bool> {
        let new = new.clone();
        self.store.queue.submit(move |group| flip(group, &new)).await
    }

    async fn flip_day(&self, day: Day, generation: u64, version: u64) -> PortResult<bool> {
        let flip = move |group: &mut Group<'_>| {
            let stored = stored_day(group.conn, day)?;
            let flips = stored.generation == generation && stored.version <= version;
            if flips {
                put_day(group.conn, &DayManifest { version, ..stored })?;
            }
            Ok(flips)
        };
        self.store.queue.submit(flip).await
    }
}
