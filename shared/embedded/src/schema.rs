//! The tables, their version, and how connections are set up.
//!
//! Rows are keyed so that writing appends where it can (UUIDv7 and sequence numbers rise), and so that a time range of one
//! entity is one scan.

use std::path::Path;
use std::time::Duration;

use clickledger_core::domain::time::Hour;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::OpenError;

/// What this code reads and writes. A change of the tables raises it.
pub(crate) const VERSION: u32 = 5;

/// The database's file in the data folder.
pub(crate) const FILE: &str = "clickledger.db";

const TABLES: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

-- `place` is the shard's hash-key range among the open ones, NULL once it is closed.
CREATE TABLE shards(shard INTEGER PRIMARY KEY, place INTEGER, closed_ms INTEGER);
CREATE TABLE shard_parents(shard INTEGER NOT NULL, parent INTEGER NOT NULL, PRIMARY KEY(shard, parent)) WITHOUT ROWID;
-- One row is one commit group's records of one shard.
CREATE TABLE stream(
    last INTEGER PRIMARY KEY, shard INTEGER NOT NULL, first INTEGER NOT NULL, arrived_ms INTEGER NOT NULL,
    records BLOB NOT NULL);
CREATE INDEX stream_by_shard ON stream(shard, last);
CREATE TABLE positions(
    shard INTEGER NOT NULL, consumer TEXT NOT NULL, done INTEGER NOT NULL, ended INTEGER NOT NULL,
    PRIMARY KEY(shard, consumer)) WITHOUT ROWID;

CREATE TABLE claims(impression_id BLOB PRIMARY KEY, click_id BLOB NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID;

-- One row is one hour's partials of an entity from one shard (see `hour_row`). `totals` before `cells`, so that a query
-- without a breakdown never reads a cell.
CREATE TABLE buckets(
    kind INTEGER NOT NULL, id INTEGER NOT NULL, hour INTEGER NOT NULL, shard INTEGER NOT NULL,
    totals BLOB NOT NULL, cells BLOB NOT NULL, PRIMARY KEY(kind, id, hour, shard)) WITHOUT ROWID;

-- One row is one commit group's writes of partials that are not in `buckets` yet (see `partials`).
CREATE TABLE partial_log(id INTEGER PRIMARY KEY, writes BLOB NOT NULL);

CREATE TABLE lanes(
    shard INTEGER NOT NULL, last INTEGER NOT NULL, first_arrival_ms INTEGER NOT NULL, last_arrival_ms INTEGER NOT NULL,
    ids BLOB NOT NULL, late_ids BLOB NOT NULL, PRIMARY KEY(shard, last));
CREATE TABLE spill(
    id INTEGER PRIMARY KEY AUTOINCREMENT, visible_ms INTEGER NOT NULL, partition_key TEXT NOT NULL, data BLOB NOT NULL);

CREATE TABLE ads(
    ad_id INTEGER PRIMARY KEY, advertiser_id INTEGER NOT NULL, campaign_id INTEGER NOT NULL, version INTEGER NOT NULL,
    body TEXT NOT NULL);
CREATE INDEX ads_by_advertiser ON ads(advertiser_id, ad_id);
CREATE INDEX ads_by_campaign ON ads(campaign_id, ad_id);
CREATE TABLE placements(
    slot TEXT PRIMARY KEY, placement_id INTEGER NOT NULL UNIQUE, version INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE api_keys(
    key_id TEXT PRIMARY KEY, secret_sha256 BLOB NOT NULL, scope TEXT NOT NULL, created_ms INTEGER NOT NULL,
    revoked_ms INTEGER, last_used_ms INTEGER) WITHOUT ROWID;
-- The one with the highest `made` signs.
CREATE TABLE token_keys(made INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL, secret BLOB NOT NULL);
CREATE TABLE hashing_key(one INTEGER PRIMARY KEY CHECK(one = 1), secret BLOB NOT NULL);
";

/// What version 3 brought: all that sealing stores but the counts.
const SEALING: &str = "
-- Of every hour that was marked or looked at; `body` is JSON.
CREATE TABLE manifests(hour INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE day_manifests(day INTEGER PRIMARY KEY, version INTEGER NOT NULL, generation INTEGER NOT NULL);
-- A row stays for good, so that a job's fence never falls.
CREATE TABLE leases(
    job TEXT PRIMARY KEY, holder TEXT, fence INTEGER NOT NULL, until_ms INTEGER NOT NULL, note TEXT) WITHOUT ROWID;

-- `hour` is that of the click's own time.
CREATE TABLE rulings(
    hour INTEGER NOT NULL, click_id BLOB NOT NULL, kind INTEGER NOT NULL, other BLOB NOT NULL,
    PRIMARY KEY(hour, click_id, kind)) WITHOUT ROWID;
CREATE TABLE corrections(
    hour INTEGER NOT NULL, version INTEGER NOT NULL, kind INTEGER NOT NULL, id INTEGER NOT NULL, minute INTEGER NOT NULL,
    counts BLOB NOT NULL, cause TEXT NOT NULL, adjustment INTEGER NOT NULL, made_ms INTEGER NOT NULL,
    PRIMARY KEY(hour, version, kind, id, minute)) WITHOUT ROWID;
CREATE TABLE seal_reports(
    hour INTEGER NOT NULL, at_ms INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY(hour, at_ms)) WITHOUT ROWID;
";

/// What version 4 brought: sessions.
const SESSIONS: &str = "
CREATE TABLE sessions(
    session_id TEXT PRIMARY KEY, secret_sha256 BLOB NOT NULL, key_id TEXT NOT NULL, created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX sessions_by_expiry ON sessions(expires_ms);
";

/// Sealed counts as version 5 has them. `other` is the placement of a pair of advertiser and placement, else 0.
const SEALED: &str = "
-- Keyed as readers want them: a range of one entity is one scan. `totals` before `cells`, so that a query without a
-- breakdown never reads a cell. By the indexes an hour's or day's versions are listed and forgotten.
CREATE TABLE sealed_hours(
    kind INTEGER NOT NULL, id INTEGER NOT NULL, other INTEGER NOT NULL, hour INTEGER NOT NULL, version INTEGER NOT NULL,
    totals BLOB NOT NULL, cells BLOB NOT NULL, PRIMARY KEY(kind, id, other, hour, version)) WITHOUT ROWID;
CREATE INDEX sealed_hours_by_version ON sealed_hours(hour, version, kind, id, other);
CREATE TABLE sealed_days(
    kind INTEGER NOT NULL, id INTEGER NOT NULL, other INTEGER NOT NULL, day INTEGER NOT NULL, version INTEGER NOT NULL,
    totals BLOB NOT NULL, cells BLOB NOT NULL, PRIMARY KEY(kind, id, other, day, version)) WITHOUT ROWID;
CREATE INDEX sealed_days_by_version ON sealed_days(day, version, kind, id, other);
";

/// From version 4 to 5, before and after [`SEALED`]: the counts move over. Their keys begin otherwise now.
const ASIDE: &str = "
DROP INDEX sealed_hours_by_version;
DROP INDEX sealed_days_by_version;
ALTER TABLE sealed_hours RENAME TO sealed_hours_4;
ALTER TABLE sealed_days RENAME TO sealed_days_4;
";
const OVER: &str = "
INSERT INTO sealed_hours SELECT kind, id, 0, hour, version, totals, cells FROM sealed_hours_4 ORDER BY kind, id, hour, version;
INSERT INTO sealed_days SELECT kind, id, 0, day, version, totals, cells FROM sealed_days_4 ORDER BY kind, id, day, version;
DROP TABLE sealed_hours_4;
DROP TABLE sealed_days_4;
";

/// Which connection it is: how much memory it may take (KiB of page cache) and how long it waits for others.
pub(crate) struct Role {
    cache_kib: u32,
    wait: Duration,
    read_only: bool,
}

/// The writer thread's own connection.
pub(crate) const WRITER: Role = Role {
    cache_kib: 32 * 1024,
    wait: Duration::from_millis(20),
    read_only: false,
};
/// The connection that copies the log into the database.
pub(crate) const CHECKPOINTER: Role = Role {
    cache_kib: 512,
    wait: Duration::from_secs(1),
    read_only: false,
};
/// A connection for queries.
pub(crate) const READER: Role = Role {
    cache_kib: 6 * 1024,
    wait: Duration::from_secs(5),
    read_only: true,
};

/// Opens one connection.
pub(crate) fn connect(file: &Path, role: &Role) -> rusqlite::Result<Connection> {
    let access = if role.read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let conn = Connection::open_with_flags(file, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(role.wait)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.pragma_update(None, "cache_size", -i64::from(role.cache_kib))?;
    // No memory map: its pages would count as the process's own, and commits don't profit.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    if !role.read_only {
        conn.pragma_update(None, "page_size", PAGE_BYTES)?;
        conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        // Every commit is on the disk before anybody hears of it.
        conn.pragma_update(None, "synchronous", "full")?;
        // Commits never pay for a checkpoint: another thread does it (see `checkpoint`).
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    }
    Ok(conn)
}

/// Bytes of a database page. Measured: with 8 KiB, claims of impressions that come in no order write half as many bytes
/// again, and nothing else gets cheaper.
pub(crate) const PAGE_BYTES: u32 = 4096;

/// Makes the tables of a new database; of an old one, checks the version, and brings versions 2 to 4 to this one.
pub(crate) fn prepare(conn: &mut Connection, dir: &Path) -> Result<(), OpenError> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        tx.execute_batch(TABLES)?;
        tx.execute_batch(SEALING)?;
        tx.execute_batch(SEALED)?;
        tx.execute_batch(SESSIONS)?;
        put_meta(&tx, "schema_version", VERSION.into())?;
        tx.commit()?;
        return Ok(());
    }
    let known: i64 = tx.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'",
        [],
        |row| row.get(0),
    )?;
    let found = if known == 0 {
        None
    } else {
        meta(&tx, "schema_version")?
    };
    match found {
        Some(found) if found == i64::from(VERSION) => Ok(()),
        Some(found @ 2..=4) => {
            if found < 3 {
                bring_sealing(&tx, dir)?;
            } else {
                tx.execute_batch(ASIDE)?;
                tx.execute_batch(SEALED)?;
                tx.execute_batch(OVER)?;
            }
            if found < 4 {
                tx.execute_batch(SESSIONS)?;
            }
            put_meta(&tx, "schema_version", VERSION.into())?;
            tx.commit()?;
            Ok(())
        }
        Some(found) => Err(OpenError::OtherSchema {
            dir: dir.to_owned(),
            found,
            expected: VERSION,
        }),
        None => Err(OpenError::NotOurs { dir: dir.to_owned() }),
    }
}

/// From version 2: sealing's tables; what was a dirty hour is a manifest with a mark.
fn bring_sealing(conn: &Connection, dir: &Path) -> Result<(), OpenError> {
    conn.execute_batch(SEALING)?;
    conn.execute_batch(SEALED)?;
    let hours: Vec<i64> = conn
        .prepare("SELECT hour FROM dirty_hours")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for hour in hours {
        crate::seals::mark(conn, Hour(hour)).map_err(|failure| failure.on_opening(dir))?;
    }
    conn.execute_batch("DROP TABLE dirty_hours")?;
    Ok(())
}

/// A number that the store keeps about itself.
pub(crate) fn meta(conn: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Keeps a number.
pub(crate) fn put_meta(conn: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO meta(key, value) VALUES (?1, ?2)")?
        .execute((key, value))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runs again and again beside the clicks must not read whole tables.
    #[test]
    fn retention_searches_by_index() {
        let dir = tempfile::tempdir().unwrap();
        let mut conn = connect(&dir.path().join(FILE), &WRITER).unwrap();
        prepare(&mut conn, dir.path()).unwrap();
        for statement in [
            crate::lanes::EXPIRE,
            crate::trim::OLDEST,
            crate::trim::DELETE,
            crate::claims::EXPIRED,
            crate::claims::FORGOTTEN,
            crate::seals::HOUR_VERSIONS,
            crate::seals::DAY_VERSIONS,
            crate::seals::FORGET_HOURS,
            crate::seals::FORGET_DAYS,
            crate::seals::NEXT_PLACEMENT,
            crate::seals::HAS_PLACEMENT,
            crate::keys::EXPIRED,
        ] {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let parameters = vec![1_i64; explain.parameter_count()];
            let plan: Vec<String> = explain
                .query_map(rusqlite::params_from_iter(parameters), |row| row.get(3))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert!(
                plan.iter().any(|step| step.starts_with("SEARCH")),
                "{statement}: {plan:?}"
            );
            let reads_all = |step: &String| step.starts_with("SCAN") || step.contains("TEMP B-TREE");
            assert!(!plan.iter().any(reads_all), "{statement}: {plan:?}");
        }
    }
}
