//! API keys: made, checked, listed, revoked, rotated; and the sessions that are begun with them.
//!
//! Invariant: a revoked key opens nothing in the process that revoked it, and nothing anywhere [`CACHED_MS`] later; the same
//! holds of its sessions, and of a session that was ended.

mod recent;
mod sessions;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::recent::Recent;
pub use self::sessions::{SESSION_MS, SignIn, SignedIn};
use super::ads::{ChangeError, FieldError};
use super::rate_limit::{RateLimiter, RateLimits, Standing, TooMany};
use super::within::within;
use crate::domain::api_key::{ApiKey, KeyId, PresentedKey, Scope};
use crate::domain::session::Session;
use crate::domain::time::Hour;
use crate::ports::{ApiKeys, Changed, Clock, Entropy, PortResult};

/// How long a key that was read opens without another read, milliseconds.
pub const CACHED_MS: i64 = 30_000;
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

/// A key that was read.
#[derive(Clone)]
struct Known {
    key: Arc<ApiKey>,
    /// The hour that is noted as its last use.
    touched: Option<i64>,
}

/// Keeps API keys and says who a caller is.
pub struct KeysService {
    keys: Arc<dyn ApiKeys>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    recent: Mutex<Recent<Known>>,
    sessions: Mutex<Recent<Arc<Session>>>,
    limits: Limits,
}

/// How often what may be done.
struct Limits {
    keys: RateLimiter<KeyId>,
    admins: RateLimiter<KeyId>,
    sign_ins: RateLimiter<Option<IpAddr>>,
}

impl Limits {
    fn new(limits: RateLimits, clock: &Arc<dyn Clock>) -> Self {
        Self {
            keys: RateLimiter::per_minute(limits.key, Arc::clone(clock)),
            admins: RateLimiter::per_minute(limits.admin, Arc::clone(clock)),
            sign_ins: RateLimiter::per_minute(limits.sign_ins, Arc::clone(clock)),
        }
    }
}

impl KeysService {
    /// A service over these keys, under the usual limits.
    pub fn new(keys: Arc<dyn ApiKeys>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            limits: Limits::new(RateLimits::default(), &clock),
            keys,
            clock,
            entropy,
            recent: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// The same under these limits; what was asked before does not count.
    #[must_use]
    pub fn limited(mut self, limits: RateLimits) -> Self {
        self.limits = Limits::new(limits, &self.clock);
        self
    }

    /// Takes one request from the key's share of this minute.
    ///
    /// # Errors
    /// [`TooMany`]: the share is used up.
    pub fn admit(&self, key: &ApiKey) -> Result<Standing, TooMany> {
        match key.scope {
            Scope::Admin => self.limits.admins.check(&key.key_id),
            Scope::Advertiser { .. } | Scope::Publisher { .. } => self.limits.keys.check(&key.key_id),
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
        self.used(&presented.key_id, |key| key.opens(&presented)).await
    }

    /// The key of this id, if it opens like this; its use is noted.
    async fn used(
        &self,
        key_id: &KeyId,
        opens: impl Fn(&ApiKey) -> bool + Send,
    ) -> PortResult<Option<Arc<ApiKey>>> {
        let now_ms = self.clock.now_ms();
        let (known, forgotten) = lock(&self.recent).get(key_id, now_ms);
        if let Some(Known { key, .. }) = known {
            return Ok(opens(&key).then_some(key));
        }
        let Some(key) = self.keys.get(key_id).await?.map(Arc::new) else {
            lock(&self.recent).remove(key_id);
            return Ok(None);
        };
        let opens = opens(&key);
        let touch = self.keep(&key, now_ms, opens, forgotten);
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
    fn keep(&self, key: &Arc<ApiKey>, read_ms: i64, used: bool, forgotten: u64) -> Option<i64> {
        let hour_ms = Hour::of(read_ms).start_ms();
        let mut recent = lock(&self.recent);
        let noted = recent
            .last(&key.key_id)
            .and_then(|known| known.touched)
            .max(key.last_used_ms);
        let touch = used && noted.is_none_or(|noted| noted < hour_ms);
        let known = Known {
            key: Arc::clone(key),
            touched: if touch { Some(hour_ms) } else { noted },
        };
        let kept = recent.keep(&key.key_id, known, read_ms, forgotten);
        (kept && touch).then_some(hour_ms)
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
        lock(&self.recent).forget(key_id);
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
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
