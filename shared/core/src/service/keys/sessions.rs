//! Sessions: begun with a key, asked who is behind them, ended.
//!
//! Invariant: a session opens nothing that its key does not open at that moment, and nothing at all once it is over.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::{KeysService, TRIES, lock};
use crate::domain::api_key::ApiKey;
use crate::domain::session::{PresentedSession, Session};
use crate::ports::{Changed, PortError, PortResult};
use crate::service::rate_limit::TooMany;

/// How long a session lasts, milliseconds: a working day.
pub const SESSION_MS: i64 = 12 * 3_600_000;

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The key that it was done with.
    pub key: Arc<ApiKey>,
    /// Until when, Unix milliseconds.
    pub expires_ms: i64,
}

/// What became of a sign-in.
#[derive(Debug)]
pub enum SignIn {
    /// It was done; the session's text is told this once and stored nowhere.
    Done(SignedIn, PresentedSession),
    /// The text opens nothing.
    Wrong,
    /// Too many came from this client lately: it was not even looked at.
    TooMany(TooMany),
}

/// Who sign-ins are counted of: an address, or the /64 of an IPv6 address, in which anybody has as many as he wants.
fn counted(client: Option<IpAddr>) -> Option<IpAddr> {
    match client?.to_canonical() {
        IpAddr::V6(address) => Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
        v4 => Some(v4),
    }
}

impl KeysService {
    /// Begins a session with the key that this text opens. Sign-ins are limited by client; those whose client is not known
    /// share one limit.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn sign_in(&self, text: &str, client: Option<IpAddr>) -> PortResult<SignIn> {
        if let Err(too_many) = self.limits.sign_ins.check(&counted(client)) {
            return Ok(SignIn::TooMany(too_many));
        }
        let Some(key) = self.authenticate(text).await? else {
            return Ok(SignIn::Wrong);
        };
        let created_ms = self.clock.now_ms();
        let expires_ms = created_ms + SESSION_MS;
        for _ in 0..TRIES {
            let (mut id, mut secret) = ([0; 9], [0; 32]);
            self.entropy.fill(&mut id);
            self.entropy.fill(&mut secret);
            let presented = PresentedSession::generate(id, secret);
            let session = Session {
                session_id: presented.session_id().clone(),
                secret_sha256: presented.secret_sha256(),
                key_id: key.key_id.clone(),
                created_ms,
                expires_ms,
            };
            if self.keys.begin_session(&session).await? == Changed::Done {
                return Ok(SignIn::Done(SignedIn { key, expires_ms }, presented));
            }
        }
        Err(PortError::unavailable("every id that was drawn is taken"))
    }

    /// Who is behind the session that this text opens, if it opens any.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn signed_in(&self, text: &str) -> PortResult<Option<SignedIn>> {
        let Ok(presented) = text.parse::<PresentedSession>() else {
            return Ok(None);
        };
        let Some(session) = self.session(&presented).await? else {
            return Ok(None);
        };
        // Its key may have been revoked since.
        let key = self.used(&session.key_id, |key| key.revoked_ms.is_none()).await?;
        Ok(key.map(|key| SignedIn {
            key,
            expires_ms: session.expires_ms,
        }))
    }

    /// Ends the session that this text opens; whatever else the text is changes nothing.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn sign_out(&self, text: &str) -> PortResult<()> {
        let Ok(presented) = text.parse::<PresentedSession>() else {
            return Ok(());
        };
        if self.session(&presented).await?.is_none() {
            return Ok(());
        }
        let ended = self.keys.end_session(presented.session_id()).await;
        lock(&self.sessions).forget(presented.session_id());
        ended
    }

    async fn session(&self, presented: &PresentedSession) -> PortResult<Option<Arc<Session>>> {
        let (now_ms, id) = (self.clock.now_ms(), presented.session_id());
        let (known, forgotten) = lock(&self.sessions).get(id, now_ms);
        let session = match known {
            Some(session) => session,
            None => {
                let Some(session) = self.keys.session(id).await?.map(Arc::new) else {
                    lock(&self.sessions).remove(id);
                    return Ok(None);
                };
                lock(&self.sessions).keep(id, Arc::clone(&session), now_ms, forgotten);
                session
            }
        };
        Ok(session.opens(presented, now_ms).then_some(session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_apart_by_what_they_cannot_choose() {
        let of = |text: &str| counted(Some(text.parse().unwrap()));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(counted(None), None);
    }
}
