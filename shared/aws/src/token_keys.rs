//! Token keys in Secrets Manager: one secret of JSON.
//!
//! Invariant: a key verifies everywhere before it signs anywhere. Processes keep the keys that they have loaded for a while, so a
//! new key waits for [`TokenKeysOptions::signs_after_ms`] before it signs; until then the one before it goes on.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clickledger_core::ports::{Clock, Entropy, PortError, PortResult, TokenKeyMaterial, TokenKeys};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure::{self, damaged};
use crate::patience::Patience;
use crate::system::SystemEntropy;

/// Fewest characters of a seed.
const MIN_SEED_CHARS: usize = 32;

/// The numbers of a [`TokenSecret`].
#[derive(Debug, Clone, Copy)]
pub struct TokenKeysOptions {
    /// How long a new key waits before it signs, milliseconds: longer than anybody keeps the keys that it has loaded.
    pub signs_after_ms: i64,
    /// For each call.
    pub patience: Patience,
}

impl Default for TokenKeysOptions {
    /// Functions load the keys again every 5 minutes.
    fn default() -> Self {
        Self {
            signs_after_ms: 10 * 60_000,
            patience: Patience::UNHURRIED,
        }
    }
}

/// The [`TokenKeys`] in Secrets Manager.
#[derive(Clone)]
pub struct TokenSecret {
    client: Client,
    secret: String,
    options: TokenKeysOptions,
    clock: Arc<dyn Clock>,
}

impl Aws {
    /// The token keys.
    ///
    /// # Errors
    /// The secret's name is missing.
    pub fn token_keys(&self, options: TokenKeysOptions) -> Result<TokenSecret, ConfigError> {
        Ok(TokenSecret {
            client: self.secrets(),
            secret: self.name(Resource::TokenSecret)?,
            options,
            clock: self.clock(),
        })
    }
}

/// What the secret holds: keys, or what the first ones are derived from.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Keys(Keys),
    Seed { seed: String },
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Keys {
    signing: Vec<SigningKey>,
    #[serde(with = "base64_32")]
    hashing: [u8; 32],
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SigningKey {
    id: u8,
    #[serde(with = "base64_32")]
    secret: [u8; 32],
    #[serde(default)]
    signs_from_ms: i64,
}

/// 32 bytes as base64.
mod base64_32 {
    use super::{Deserialize, Engine, STANDARD};

    pub(super) fn serialize<S: serde::Serializer>(
        bytes: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        <[u8; 32]>::try_from(bytes).map_err(|_| serde::de::Error::custom("not 32 bytes"))
    }
}

/// A secret of its own for each purpose, from a seed that nobody can guess.
fn derived(seed: &str, purpose: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"clickledger token keys\0");
    hash.update(purpose.as_bytes());
    hash.update(b"\0");
    hash.update(seed.as_bytes());
    hash.finalize().into()
}

fn random() -> [u8; 32] {
    let mut secret = [0; 32];
    SystemEntropy.fill(&mut secret);
    secret
}

impl Keys {
    fn first(signing: [u8; 32], hashing: [u8; 32]) -> Self {
        let key = SigningKey {
            id: 1,
            secret: signing,
            signs_from_ms: 0,
        };
        Self {
            signing: vec![key],
            hashing,
        }
    }

    fn parse(text: &str) -> PortResult<Self> {
        // The error's own text could hold what it stumbled over.
        match serde_json::from_str(text).map_err(|_| damaged("the secret of token keys"))? {
            Stored::Keys(keys) if !keys.signing.is_empty() => Ok(keys),
            Stored::Seed { seed } if seed.chars().count() >= MIN_SEED_CHARS => {
                Ok(Self::first(derived(&seed, "signing"), derived(&seed, "hashing")))
            }
            _ => Err(damaged("the secret of token keys")),
        }
    }

    fn to_json(&self) -> PortResult<String> {
        serde_json::to_string(self).map_err(PortError::rejected)
    }

    /// With a new key, which signs from then on; of the others the newest stays.
    fn rotated(&self, signs_from_ms: i64) -> Self {
        let before = self.signing.last().cloned();
        let new = SigningKey {
            // Ids come round after 255 keys, of which two are ever kept.
            id: before
                .as_ref()
                .map_or(1, |key| key.id.checked_add(1).unwrap_or(1)),
            secret: random(),
            signs_from_ms,
        };
        Self {
            signing: before.into_iter().chain([new]).collect(),
            hashing: self.hashing,
        }
    }

    /// As they are at this time: the newest key that may sign comes last.
    fn material(&self, now_ms: i64) -> TokenKeyMaterial {
        let (waiting, signing): (Vec<_>, Vec<_>) =
            self.signing.iter().partition(|key| key.signs_from_ms > now_ms);
        TokenKeyMaterial {
            signing: waiting
                .into_iter()
                .chain(signing)
                .map(|key| (key.id, key.secret))
                .collect(),
            hashing: self.hashing,
        }
    }
}

impl TokenSecret {
    /// The stored keys and their version; `None` where there is no such secret.
    async fn get(&self) -> PortResult<Option<(Keys, String)>> {
        let get = self.client.get_secret_value().secret_id(&self.secret);
        let read = || async {
            match get.clone().send().await {
                Ok(value) => {
                    let text = value.secret_string().unwrap_or_default();
                    Ok(Some((Keys::parse(text)?, value.version_id.unwrap_or_default())))
                }
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|e| e.is_resource_not_found_exception()) =>
                {
                    Ok(None)
                }
                Err(error) => Err(failure::of_sdk(error)),
            }
        };
        self.options.patience.run(read).await
    }

    /// The stored keys; where there is no secret, the first ones are made by whoever creates it first.
    async fn get_or_create(&self) -> PortResult<(Keys, String)> {
        if let Some(found) = self.get().await? {
            return Ok(found);
        }
        let first = Keys::first(random(), random()).to_json()?;
        let create = self
            .client
            .create_secret()
            .name(&self.secret)
            .secret_string(first);
        let make = || async {
            match create.clone().send().await {
                Ok(_) => Ok(()),
                // By somebody else, or by ourselves in a try whose answer was lost.
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|e| e.is_resource_exists_exception()) =>
                {
                    Ok(())
                }
                Err(error) => Err(failure::of_sdk(error)),
            }
        };
        self.options.patience.run(make).await?;
        let found = self.get().await?;
        found.ok_or_else(|| PortError::unavailable("the secret of token keys has no value yet"))
    }
}

/// The version that follows this one: the same for all who rotate it at the same time, so that one of them does.
fn next_version(version: &str) -> String {
    let hash = Sha256::digest(format!("clickledger rotation of {version}"));
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl TokenKeys for TokenSecret {
    async fn load(&self) -> PortResult<TokenKeyMaterial> {
        let (keys, _) = self.get_or_create().await?;
        Ok(keys.material(self.clock.now_ms()))
    }

    async fn rotate(&self) -> PortResult<TokenKeyMaterial> {
        let (keys, version) = self.get_or_create().await?;
        let now_ms = self.clock.now_ms();
        if keys.signing.iter().any(|key| key.signs_from_ms > now_ms) {
            // A third key would push out the one that signs now.
            return Err(PortError::unavailable(
                "the key of the last rotation does not sign yet: rotate again later",
            ));
        }
        let rotated = keys.rotated(now_ms + self.options.signs_after_ms);
        // The new version becomes AWSCURRENT, the one before it AWSPREVIOUS.
        let put = self
            .client
            .put_secret_value()
            .secret_id(&self.secret)
            .client_request_token(next_version(&version))
            .secret_string(rotated.to_json()?);
        let store = || async {
            match put.clone().send().await {
                Ok(_) => Ok(true),
                // This version exists with other keys: somebody else rotated at the same time.
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|e| e.is_resource_exists_exception()) =>
                {
                    Ok(false)
                }
                Err(error) => Err(failure::of_sdk(error)),
            }
        };
        if self.options.patience.run(store).await? {
            Ok(rotated.material(now_ms))
        } else {
            self.load().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_verifies_before_it_signs() {
        let first = Keys::first([1; 32], [9; 32]);
        let rotated = first.rotated(1_000);
        let ids = |now_ms| -> Vec<u8> {
            let keys = Keys::parse(&rotated.to_json().unwrap()).unwrap();
            keys.material(now_ms).signing.iter().map(|(id, _)| *id).collect()
        };
        assert_eq!(ids(999), [2, 1], "the last one signs");
        assert_eq!(ids(1_000), [1, 2]);
    }

    #[test]
    fn a_seed_gives_the_same_keys_to_everybody_and_another_secret_for_each_purpose() {
        let seed = r#"{"seed":"0123456789abcdef0123456789abcdef"}"#;
        let keys = Keys::parse(seed).unwrap();
        assert!(keys == Keys::parse(seed).unwrap());
        assert_ne!(keys.signing[0].secret, keys.hashing);
        let other = Keys::parse(&seed.replace("0123", "0124")).unwrap();
        assert_ne!(other.signing[0].secret, keys.signing[0].secret);
        for bad in ["", "{}", r#"{"seed":"short"}"#, r#"{"signing":[],"hashing":""}"#] {
            let error = Keys::parse(bad).map(drop).unwrap_err();
            assert!(matches!(error, PortError::Rejected(_)), "{bad:?}");
        }
    }

    #[test]
    fn one_version_has_one_successor() {
        assert_eq!(next_version("a"), next_version("a"));
        assert_ne!(next_version("a"), next_version("b"));
        assert_eq!(next_version("a").len(), 32);
    }
}
