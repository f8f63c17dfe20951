//! API keys and sessions: of each, only the hash of its secret.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::api_key::{ApiKey, KeyId};
use clickledger_core::domain::session::Session;
use clickledger_core::ports::{ApiKeys, Changed, PortResult};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::failure::{Damaged, Failure};
use crate::group::Group;
use crate::store::Store;

/// The embedded [`ApiKeys`].
#[derive(Clone)]
pub struct Keys {
    store: Arc<Store>,
}

impl Keys {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

fn key(row: &Row<'_>) -> Result<ApiKey, Failure> {
    let text = |place| row.get_ref(place)?.as_str().map_err(rusqlite::Error::from);
    Ok(ApiKey {
        key_id: text(0)?.parse().map_err(|_| Damaged("API key"))?,
        secret_sha256: row.get(1)?,
        scope: serde_json::from_str(text(2)?).map_err(|_| Damaged("API key"))?,
        created_ms: row.get(3)?,
        revoked_ms: row.get(4)?,
        last_used_ms: row.get(5)?,
    })
}

fn select(conn: &Connection, sql: &str, first: &str, limit: i64) -> Result<Vec<ApiKey>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let (mut rows, mut found) = (statement.query((first, limit))?, Vec::new());
    while let Some(row) = rows.next()? {
        found.push(key(row)?);
    }
    Ok(found)
}

/// Sessions that are over; by index.
pub(crate) const EXPIRED: &str = "DELETE FROM sessions WHERE expires_ms <= ?1";

const COLUMNS: &str =
    "SELECT key_id, secret_sha256, scope, created_ms, revoked_ms, last_used_ms FROM api_keys";

#[async_trait]
impl ApiKeys for Keys {
    async fn create(&self, key: &ApiKey) -> PortResult<Changed> {
        let key = key.clone();
        let create = move |group: &mut Group<'_>| {
            let scope = serde_json::to_string(&key.scope).map_err(|_| Damaged("API key"))?;
            let created = group
                .conn
                .prepare_cached(
                    "INSERT INTO api_keys(key_id, secret_sha256, scope, created_ms, revoked_ms, last_used_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                )?
                .execute((
                    key.key_id.as_str(),
                    key.secret_sha256,
                    &scope,
                    key.created_ms,
                    key.revoked_ms,
                    key.last_used_ms,
                ))?;
            Ok(if created > 0 {
                Changed::Done
            } else {
                Changed::Conflict
            })
        };
        self.store.queue.submit(create).await
    }

    async fn get(&self, key_id: &KeyId) -> PortResult<Option<ApiKey>> {
        let key_id = key_id.to_string();
        let query = move |conn: &Connection| {
            let mut found = select(conn, &format!("{COLUMNS} WHERE key_id = ?1 LIMIT ?2"), &key_id, 1)?;
            Ok(found.pop())
        };
        self.store.readers.read(query).await
    }

    async fn list(&self, after: Option<&KeyId>, limit: usize) -> PortResult<Vec<ApiKey>> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = move |conn: &Connection| {
            select(
                conn,
                &format!("{COLUMNS} WHERE key_id > ?1 ORDER BY key_id LIMIT ?2"),
                &after,
                limit,
            )
        };
        self.store.readers.read(query).await
    }

    async fn revoke(&self, key_id: &KeyId, now_ms: i64) -> PortResult<Changed> {
        let key_id = key_id.to_string();
        let revoke = move |group: &mut Group<'_>| {
            let sql = "UPDATE api_keys SET revoked_ms = coalesce(revoked_ms, ?2) WHERE key_id = ?1";
            let found = group.conn.prepare_cached(sql)?.execute((&key_id, now_ms))?;
            Ok(if found > 0 {
                Changed::Done
            } else {
                Changed::NotFound
            })
        };
        self.store.queue.submit(revoke).await
    }

    async fn touch(&self, key_id: &KeyId, hour_ms: i64) -> PortResult<()> {
        let key_id = key_id.to_string();
        let touch = move |group: &mut Group<'_>| {
            let sql =
                "UPDATE api_keys SET last_used_ms = max(coalesce(last_used_ms, ?2), ?2) WHERE key_id = ?1";
            group.conn.prepare_cached(sql)?.execute((&key_id, hour_ms))?;
            Ok(())
        };
        self.store.queue.submit(touch).await
    }

    async fn begin_session(&self, session: &Session) -> PortResult<Changed> {
        let session = session.clone();
        let begin = move |group: &mut Group<'_>| {
            group
                .conn
                .prepare_cached(EXPIRED)?
                .execute([session.created_ms])?;
            let begun = group
                .conn
                .prepare_cached(
                    "INSERT INTO sessions(session_id, secret_sha256, key_id, created_ms, expires_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                )?
                .execute((
                    session.session_id.as_str(),
                    session.secret_sha256,
                    session.key_id.as_str(),
                    session.created_ms,
                    session.expires_ms,
                ))?;
            Ok(if begun > 0 {
                Changed::Done
            } else {
                Changed::Conflict
            })
        };
        self.store.queue.submit(begin).await
    }

    async fn session(&self, session_id: &KeyId) -> PortResult<Option<Session>> {
        let session_id = session_id.clone();
        let query = move |conn: &Connection| {
            let found = conn
                .prepare_cached(
                    "SELECT secret_sha256, key_id, created_ms, expires_ms FROM sessions WHERE session_id = ?1",
                )?
                .query_row([session_id.as_str()], |row| {
                    Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()?;
            let Some((secret_sha256, key_id, created_ms, expires_ms)) = found else {
                return Ok(None);
            };
            Ok(Some(Session {
                session_id,
                secret_sha256,
                key_id: key_id.parse().map_err(|_| Damaged("session"))?,
                created_ms,
                expires_ms,
            }))
        };
        self.store.readers.read(query).await
    }

    async fn end_session(&self, session_id: &KeyId) -> PortResult<()> {
        let session_id = session_id.to_string();
        let end = move |group: &mut Group<'_>| {
            let sql = "DELETE FROM sessions WHERE session_id = ?1";
            group.conn.prepare_cached(sql)?.execute([&session_id])?;
            Ok(())
        };
        self.store.queue.submit(end).await
    }
}
