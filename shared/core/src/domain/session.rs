//! Sessions: what a sign-in with an API key opens, `cls_<session id>_<secret>`, of which only the secret's SHA-256 is stored.
//!
//! Invariant: a session's text is no key's and a key's is no session's: neither is ever taken for the other.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use super::api_key::{BadKey, KeyId, PresentedKey};

/// A stored session. What it may see is what its key may see, as long as that is not revoked; it may change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its public half, in the form of a key's id.
    pub session_id: KeyId,
    /// SHA-256 of the secret's 32 bytes.
    pub secret_sha256: [u8; 32],
    /// The key that it was begun with.
    pub key_id: KeyId,
    /// When it was begun, Unix milliseconds.
    pub created_ms: i64,
    /// When it ends by itself, Unix milliseconds.
    pub expires_ms: i64,
}

impl Session {
    /// Whether this secret opens it at this time; the secret is compared in constant time.
    pub fn opens(&self, presented: &PresentedSession, now_ms: i64) -> bool {
        let hash = presented.0.secret_sha256();
        (now_ms < self.expires_ms) & bool::from(hash.ct_eq(&self.secret_sha256))
    }
}

/// A session as its holder presents it. Never logged, never shown but to the browser that keeps it.
#[derive(Clone)]
pub struct PresentedSession(PresentedKey);

impl PresentedSession {
    /// A session made of 9 + 32 random bytes.
    pub fn generate(id: [u8; 9], secret: [u8; 32]) -> Self {
        Self(PresentedKey::generate(id, secret))
    }

    /// The public half.
    pub fn session_id(&self) -> &KeyId {
        &self.0.key_id
    }

    /// The whole text, for the browser.
    pub fn reveal(&self) -> String {
        self.0.reveal().replacen("clk_", "cls_", 1)
    }

    /// What is stored of the secret.
    pub fn secret_sha256(&self) -> [u8; 32] {
        self.0.secret_sha256()
    }
}

impl fmt::Debug for PresentedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedSession({}, …)", self.session_id())
    }
}

impl FromStr for PresentedSession {
    type Err = BadKey;
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let rest = text.strip_prefix("cls_").ok_or(BadKey)?;
        format!("clk_{rest}").parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_opens_with_its_own_secret_until_it_expires() {
        let presented = PresentedSession::generate([1; 9], [2; 32]);
        let session = Session {
            session_id: presented.session_id().clone(),
            secret_sha256: presented.secret_sha256(),
            key_id: PresentedKey::generate([3; 9], [4; 32]).key_id,
            created_ms: 0,
            expires_ms: 100,
        };
        let again: PresentedSession = presented.reveal().parse().unwrap();
        assert!(session.opens(&again, 99));
        assert!(!session.opens(&again, 100));
        assert!(!session.opens(&PresentedSession::generate([1; 9], [3; 32]), 0));
    }

    #[test]
    fn texts_of_keys_and_sessions_are_never_each_others() {
        let (key, session) = (
            PresentedKey::generate([1; 9], [2; 32]).reveal(),
            PresentedSession::generate([1; 9], [2; 32]).reveal(),
        );
        assert!(key.parse::<PresentedSession>().is_err());
        assert!(session.parse::<PresentedKey>().is_err());
        for bad in [
            "",
            "cls_",
            "cls__",
            &session[..session.len() - 1],
            &format!("cls_{key}"),
        ] {
            assert!(bad.parse::<PresentedSession>().is_err(), "{bad:?}");
        }
    }
}
