//! API keys: made, checked, listed, revoked, rotated.
//!
//! Invariant: a revoked key opens nothing in the process that revoked it, and nothing anywhere [`CACHED_MS`] later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ads::{ChangeError, FieldError};
use super::within::within;
use crate::domain::api_key::{ApiKey, KeyId, PresentedKey, Scope};
use crate::domain::time::Hour;
use crate::ports::{ApiKeys, Changed, Clock, Entropy, PortResult};

/// How long a key that was read opens without another read, milliseconds.
pub const CACHED_MS: i64 = 30_000;
/// Most keys in memory; only keys that exist are kept there.
const CACHED_KEYS: usize = 10_000;
/// Most placements of a publisher's key.
const MAX_PLACEMENTS: usize = 100;
/// How long a call waits for the note that its key was used, milliseconds.
const TOUCH_MS: u64 = 250;
const TRIES: usize = 4;

/// What became of a key that somebody brought along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored now.
    Created(ApiKey),
    /// It was there already, with the same scope.
    Existed(ApiKey),
    /// The id is another key's, or this one's with another scope, or revoked.
    Taken,
}

struct Cached {
    key: Arc<ApiKey>,
    read_ms: i64,
    /// The hour that is noted as its last use.
    touched: Option<i64>,
}

#[derive(Default)]
struct Cache {
    keys: HashMap<KeyId, Cached>,
    /// How many were revoked here: what was read before the last one may be older than it.
    revoked: u64,
}

/// Keeps API keys and says who a caller is.
pub struct KeysService {
    keys: Arc<dyn ApiKeys>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    cache: Mutex<Cache>,
}

impl KeysService {
    /// A service over these keys.
    pub fn new(keys: Arc<dyn ApiKeys>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            keys,
            clock,
            entropy,
            cache: Mutex::default(),
        }
    }

    /// Makes a key; the text is shown this once and stored nowhere.
    ///
    /// # Errors
    /// [`ChangeError::Invalid`], [`ChangeError::Store`]
    pub async fn create(&self, scope: Scope) -> Result<(ApiKey, String), ChangeError> {
        let scope = checked(scope)?;
        for _ in 0..TRIES {
            let (mut id, mut secret) = ([0; 9], [0; 32]);
            self.entropy.fill(&mut id);
            self.entropy.fill(&mut secret);
            let presented = PresentedKey::generate(id, secret);
            let key = self.stored(&presented, scope.clone());
            if self.keys.create(&key).await? == Changed::Done {
                return Ok((key, presented.reveal()));
            }
        }
        Err(ChangeError::Conflict)
    }

    /// Stores a key that somebody brought along; doing it again changes nothing.
    ///
    /// # Errors
    /// [`ChangeError::Invalid`], [`ChangeError::Store`]
    pub async fn insert(&self, presented: &PresentedKey, scope: Scope) -> Result<Inserted, ChangeError> {
        let key = self.stored(presented, checked(scope)?);
        if self.keys.create(&key).await? == Changed::Done {
            return Ok(Inserted::Created(key));
        }
        Ok(match self.keys.get(&presented.key_id).await? {
            Some(found) if found.opens(presented) && found.scope == key.scope => Inserted::Existed(found),
            _ => Inserted::Taken,
        })
    }

    fn stored(&self, presented: &PresentedKey, scope: Scope) -> ApiKey {
        ApiKey {
            key_id: presented.key_id.clone(),
            secret_sha256: presented.secret_sha256(),
            scope,
            created_ms: self.clock.now_ms(),
            revoked_ms: None,
            last_used_ms: None,
        }
    }

    /// The key that this text opens, if any.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn authenticate(&self, text: &str) -> PortResult<Option<Arc<ApiKey>>> {
        let Ok(presented) = text.parse::<PresentedKey>() else {
            return Ok(None);
        };
        let now_ms = self.clock.now_ms();
        let (cached, revoked) = {
            let cache = self.cache();
            let cached = cache
                .keys
                .get(&presented.key_id)
                .filter(|cached| (cached.read_ms..cached.read_ms + CACHED_MS).contains(&now_ms))
                .map(|cached| Arc::clone(&cached.key));
            (cached, cache.revoked)
        };
        if let Some(key) = cached {
            return Ok(key.opens(&presented).then_some(key));
        }
        let Some(key) = self.keys.get(&presented.key_id).await?.map(Arc::new) else {
            self.cache().keys.remove(&presented.key_id);
            return Ok(None);
        };
        let opens = key.opens(&presented);
        let touch = self.keep(&key, now_ms, opens, revoked);
        if let Some(hour_ms) = touch {
            let noted = self.keys.touch(&key.key_id, hour_ms);
            if let Err(error) = within(&*self.clock, TOUCH_MS, noted).await {
                tracing::warn!(%error, "the use of a key could not be noted");
            }
        }
        Ok(opens.then_some(key))
    }

    /// Keeps what was read at `read_ms`, unless keys were revoked since; says whether the use in this hour is still to be
    /// noted.
    fn keep(&self, key: &Arc<ApiKey>, read_ms: i64, used: bool, revoked: u64) -> Option<i64> {
        let hour_ms = Hour::of(read_ms).start_ms();
        let mut cache = self.cache();
        if cache.revoked != revoked {
            return None;
        }
        let cache = &mut cache.keys;
        let noted = cache
            .get(&key.key_id)
            .and_then(|cached| cached.touched)
            .max(key.last_used_ms);
        let touch = used && noted.is_none_or(|noted| noted < hour_ms);
        if cache.len() >= CACHED_KEYS && !cache.contains_key(&key.key_id) {
            cache.retain(|_, cached| read_ms < cached.read_ms + CACHED_MS);
            if cache.len() >= CACHED_KEYS {
                cache.clear();
            }
        }
        let cached = Cached {
            key: Arc::clone(key),
            read_ms,
            touched: if touch { Some(hour_ms) } else { noted },
        };
        cache.insert(key.key_id.clone(), cached);
        touch.then_some(hour_ms)
    }

    /// Keys after `after` in the order of their ids, revoked ones too.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn list(&self, after: Option<&KeyId>, limit: usize) -> PortResult<Vec<ApiKey>> {
        self.keys.list(after, limit).await
    }

    /// The key of this id, revoked or not.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn get(&self, key_id: &KeyId) -> PortResult<Option<ApiKey>> {
        self.keys.get(key_id).await
    }

    /// Revokes a key for good; says whether there is one of this id.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn revoke(&self, key_id: &KeyId) -> PortResult<bool> {
        let changed = self.keys.revoke(key_id, self.clock.now_ms()).await;
        let mut cache = self.cache();
        cache.keys.remove(key_id);
        cache.revoked += 1;
        drop(cache);
        Ok(changed? == Changed::Done)
    }

    /// Makes a key of the same scope, then revokes the old one.
    ///
    /// # Errors
    /// [`ChangeError::NotFound`], [`ChangeError::Invalid`] for a key that is revoked already, [`ChangeError::Store`]
    pub async fn rotate(&self, key_id: &KeyId) -> Result<(ApiKey, String), ChangeError> {
        let old = self.keys.get(key_id).await?.ok_or(ChangeError::NotFound)?;
        if old.revoked_ms.is_some() {
            let error = FieldError::new("key_id", "is a revoked key's: make a new key instead");
            return Err(ChangeError::Invalid(vec![error]));
        }
        let made = self.create(old.scope).await?;
        self.revoke(key_id).await?;
        Ok(made)
    }

    /// Whether there is any key.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn any(&self) -> PortResult<bool> {
        Ok(!self.keys.list(None, 1).await?.is_empty())
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn checked(scope: Scope) -> Result<Scope, ChangeError> {
    match scope {
        Scope::Publisher { mut placement_ids } => {
            placement_ids.sort_unstable();
            placement_ids.dedup();
            if (1..=MAX_PLACEMENTS).contains(&placement_ids.len()) {
                return Ok(Scope::Publisher { placement_ids });
            }
            let reason = format!("must be 1 to {MAX_PLACEMENTS} placements");
            Err(ChangeError::Invalid(vec![FieldError::new(
                "placement_ids",
                reason,
            )]))
        }
        other => Ok(other),
    }
}
