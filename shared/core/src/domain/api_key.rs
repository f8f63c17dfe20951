//! API keys: `clk_<key_id>_<secret>`, of which only the secret's SHA-256 is stored.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::ids::{AdvertiserId, PlacementId};

/// What a key may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scope", rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    Admin,
    /// One advertiser's ads and counts.
    Advertiser {
        /// Whose.
        advertiser_id: AdvertiserId,
        /// Whether it may change nothing.
        #[serde(default)]
        read_only: bool,
    },
    /// The totals of these placements.
    Publisher {
        /// Which.
        placement_ids: Vec<PlacementId>,
    },
}

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// 12 characters of `[A-Za-z0-9-]`, public.
    pub key_id: KeyId,
    /// SHA-256 of the secret's 32 bytes. A slow hash would gain nothing: the secret is random, not a password.
    pub secret_sha256: [u8; 32],
    /// What it may do.
    pub scope: Scope,
    /// When it was made, Unix milliseconds.
    pub created_ms: i64,
    /// When it was revoked, Unix milliseconds.
    pub revoked_ms: Option<i64>,
    /// The hour in which it was last used, Unix milliseconds of its start.
    pub last_used_ms: Option<i64>,
}

impl ApiKey {
    /// Whether this secret opens it, in constant time; a revoked key opens nothing.
    pub fn opens(&self, presented: &PresentedKey) -> bool {
        let hash = presented.secret_sha256();
        self.revoked_ms.is_none() & bool::from(hash.ct_eq(&self.secret_sha256))
    }
}

/// A key's public half.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no key, or no key's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: clk_<key id>_<secret>")]
pub struct BadKey;

impl FromStr for KeyId {
    type Err = BadKey;
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let ok = text.len() == 12 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadKey)
        }
    }
}

/// A key as its holder presents it. Never logged, never shown but once.
#[derive(Clone)]
pub struct PresentedKey {
    /// The public half.
    pub key_id: KeyId,
    secret: [u8; 32],
}

impl fmt::Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({}, …)", self.key_id)
    }
}

impl PresentedKey {
    /// A key made of 9 + 32 random bytes.
    pub fn generate(id: [u8; 9], secret: [u8; 32]) -> Self {
        // '_' separates the parts of a key: base64url's own underscore becomes a '0' in the id, which is public anyway.
        let key_id = KeyId(URL_SAFE_NO_PAD.encode(id).replace('_', "0"));
        Self { key_id, secret }
    }

    /// The whole key, to be shown once.
    pub fn reveal(&self) -> String {
        format!("clk_{}_{}", self.key_id, URL_SAFE_NO_PAD.encode(self.secret))
    }

    /// What is stored of the secret.
    pub fn secret_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }
}

impl FromStr for PresentedKey {
    type Err = BadKey;
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let (id, secret) = text
            .strip_prefix("clk_")
            .and_then(|rest| rest.split_once('_'))
            .ok_or(BadKey)?;
        let mut bytes = [0_u8; 32];
        match URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes) {
            Ok(32) => Ok(Self {
                key_id: id.parse()?,
                secret: bytes,
            }),
            _ => Err(BadKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(key: &PresentedKey) -> ApiKey {
        ApiKey {
            key_id: key.key_id.clone(),
            secret_sha256: key.secret_sha256(),
            scope: Scope::Admin,
            created_ms: 0,
            revoked_ms: None,
            last_used_ms: None,
        }
    }

    #[test]
    fn a_key_opens_what_was_made_with_it() {
        let key = PresentedKey::generate([255; 9], [3; 32]);
        let again: PresentedKey = key.reveal().parse().unwrap();
        assert!(stored(&key).opens(&again));
        assert!(!stored(&key).opens(&PresentedKey::generate([255; 9], [4; 32])));
        assert!(
            !ApiKey {
                revoked_ms: Some(1),
                ..stored(&key)
            }
            .opens(&again)
        );
        assert!(!format!("{key:?}").contains(&URL_SAFE_NO_PAD.encode([3; 32])));
    }

    #[test]
    fn other_texts_are_no_keys() {
        let good = PresentedKey::generate([1; 9], [3; 32]).reveal();
        for bad in [
            "",
            "clk_",
            "clk__",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}A"),
            &good.replace('_', "-"),
        ] {
            assert!(bad.parse::<PresentedKey>().is_err(), "{bad:?}");
        }
    }
}
