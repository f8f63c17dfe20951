//! The token keys' safe.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::ports::{Entropy, PortResult, TokenKeyMaterial, TokenKeys};

use super::Held;

/// [`TokenKeys`] in memory.
#[derive(Clone)]
pub struct MemoryTokenKeys {
    entropy: Arc<dyn Entropy>,
    keys: Held<Option<TokenKeyMaterial>>,
}

impl std::fmt::Debug for MemoryTokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MemoryTokenKeys").field(&self.keys).finish()
    }
}

impl MemoryTokenKeys {
    /// A safe without keys, that makes them of this randomness.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self {
            entropy,
            keys: Held::default(),
        }
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        self.entropy.fill(&mut secret);
        secret
    }

    fn with<T>(&self, work: impl FnOnce(&mut TokenKeyMaterial) -> T) -> T {
        let first = || TokenKeyMaterial {
            signing: vec![(1, self.secret())],
            hashing: self.secret(),
        };
        work(self.keys.lock().get_or_insert_with(first))
    }
}

#[async_trait]
impl TokenKeys for MemoryTokenKeys {
    async fn load(&self) -> PortResult<TokenKeyMaterial> {
        Ok(self.with(|keys| keys.clone()))
    }

    async fn rotate(&self) -> PortResult<TokenKeyMaterial> {
        let secret = self.secret();
        Ok(self.with(|keys| {
            let newest = keys.signing.last().map_or(0, |(id, _)| *id);
            keys.signing.push((newest.checked_add(1).unwrap_or(1), secret));
            let older = keys.signing.len().saturating_sub(2);
            keys.signing.drain(..older);
            keys.clone()
        }))
    }
}
