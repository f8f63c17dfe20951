//! API keys and token keys.

use async_trait::async_trait;

use super::PortResult;
use super::catalog::Changed;
use crate::domain::api_key::{ApiKey, KeyId};
use crate::domain::session::Session;

/// API keys, hashed at rest, and the sessions that were begun with them. A session's id is no key's: what asks for a key finds
/// no session, and the other way round.
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Stores a new key; [`Changed::Conflict`] if the id is taken.
    async fn create(&self, key: &ApiKey) -> PortResult<Changed>;
    /// The key of this id, revoked or not.
    async fn get(&self, key_id: &KeyId) -> PortResult<Option<ApiKey>>;
    /// Keys after `after` in the order of their ids, at most `limit`.
    async fn list(&self, after: Option<&KeyId>, limit: usize) -> PortResult<Vec<ApiKey>>;
    /// Revokes a key, for good; a key that is revoked already keeps its first time.
    async fn revoke(&self, key_id: &KeyId, now_ms: i64) -> PortResult<Changed>;
    /// Notes that the key was used in the hour that starts at `hour_ms`.
    async fn touch(&self, key_id: &KeyId, hour_ms: i64) -> PortResult<()>;
    /// Stores a new session; [`Changed::Conflict`] if the id is taken. Sessions that expired before it was begun may be
    /// forgotten.
    async fn begin_session(&self, session: &Session) -> PortResult<Changed>;
    /// The session of this id, unless it was ended. One that has expired may still be there.
    async fn session(&self, session_id: &KeyId) -> PortResult<Option<Session>>;
    /// Ends a session, for good; ending one that is not there is no error.
    async fn end_session(&self, session_id: &KeyId) -> PortResult<()>;
}

/// The secrets that tokens are signed with and client data is hashed with.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKeyMaterial {
    /// Signing keys by id; the last one signs, all verify.
    pub signing: Vec<(u8, [u8; 32])>,
    /// Secret of the hashes of client data.
    pub hashing: [u8; 32],
}

impl std::fmt::Debug for TokenKeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKeyMaterial({} signing keys)", self.signing.len())
    }
}

/// The token keys' safe.
#[async_trait]
pub trait TokenKeys: Send + Sync {
    /// All keys that still verify. A store that has none makes the first.
    async fn load(&self) -> PortResult<TokenKeyMaterial>;
    /// Makes a new signing key; keeps the one before it, and no older one.
    async fn rotate(&self) -> PortResult<TokenKeyMaterial>;
}
