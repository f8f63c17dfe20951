//! API keys and sessions.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use clickledger_core::domain::api_key::{ApiKey, KeyId};
use clickledger_core::domain::session::Session;
use clickledger_core::ports::{ApiKeys, Changed, PortResult};

use super::Held;

/// [`ApiKeys`] in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryKeys {
    keys: Held<BTreeMap<KeyId, ApiKey>>,
    sessions: Held<BTreeMap<KeyId, Session>>,
}

#[async_trait]
impl ApiKeys for MemoryKeys {
    async fn create(&self, key: &ApiKey) -> PortResult<Changed> {
        let mut keys = self.keys.lock();
        if keys.contains_key(&key.key_id) {
            return Ok(Changed::Conflict);
        }
        keys.insert(key.key_id.clone(), key.clone());
        Ok(Changed::Done)
    }

    async fn get(&self, key_id: &KeyId) -> PortResult<Option<ApiKey>> {
        Ok(self.keys.lock().get(key_id).cloned())
    }

    async fn list(&self, after: Option<&KeyId>, limit: usize) -> PortResult<Vec<ApiKey>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = self.keys.lock();
        let found = keys.range((from, Bound::Unbounded));
        Ok(found.take(limit).map(|(_, key)| key.clone()).collect())
    }

    async fn revoke(&self, key_id: &KeyId, now_ms: i64) -> PortResult<Changed> {
        Ok(match self.keys.lock().get_mut(key_id) {
            Some(key) => {
                key.revoked_ms.get_or_insert(now_ms);
                Changed::Done
            }
            None => Changed::NotFound,
        })
    }

    async fn touch(&self, key_id: &KeyId, hour_ms: i64) -> PortResult<()> {
        if let Some(key) = self.keys.lock().get_mut(key_id) {
            key.last_used_ms = key.last_used_ms.max(Some(hour_ms));
        }
        Ok(())
    }

    async fn begin_session(&self, session: &Session) -> PortResult<Changed> {
        let mut sessions = self.sessions.lock();
        if sessions.contains_key(&session.session_id) {
            return Ok(Changed::Conflict);
        }
        sessions.retain(|_, other| session.created_ms < other.expires_ms);
        sessions.insert(session.session_id.clone(), session.clone());
        Ok(Changed::Done)
    }

    async fn session(&self, session_id: &KeyId) -> PortResult<Option<Session>> {
        Ok(self.sessions.lock().get(session_id).cloned())
    }

    async fn end_session(&self, session_id: &KeyId) -> PortResult<()> {
        self.sessions.lock().remove(session_id);
        Ok(())
    }
}
