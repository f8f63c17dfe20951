//! The token keys in use: loaded at start, swapped when they rotate, never waited for by a click.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::privacy::ClientHasher;
use crate::domain::token::{TokenKey, TokenKeyRing};
use crate::ports::{PortError, PortResult, TokenKeyMaterial, TokenKeys};

/// The keys as the services use them.
#[derive(Debug)]
pub struct Keys {
    /// Signs and verifies tokens.
    pub ring: TokenKeyRing,
    /// Hashes client data.
    pub hasher: ClientHasher,
}

impl Keys {
    fn of(material: &TokenKeyMaterial) -> PortResult<Self> {
        let mut signing: Vec<_> = material
            .signing
            .iter()
            .map(|(id, secret)| TokenKey::new(*id, secret))
            .collect();
        let current = signing
            .pop()
            .ok_or_else(|| PortError::rejected("the store holds no signing key"))?;
        // The key before the current one is the likeliest to be asked for.
        signing.reverse();
        Ok(Self {
            ring: TokenKeyRing::new(current, signing),
            hasher: ClientHasher::new(&material.hashing),
        })
    }
}

/// The current [`Keys`], shared by the services of a process.
pub struct KeyRing {
    store: Arc<dyn TokenKeys>,
    keys: ArcSwap<Keys>,
}

impl KeyRing {
    /// Loads the keys; the store makes the first ones if it has none.
    ///
    /// # Errors
    /// Where the store does not answer, or holds no key.
    pub async fn load(store: Arc<dyn TokenKeys>) -> PortResult<Self> {
        let keys = Keys::of(&store.load().await?)?;
        Ok(Self {
            store,
            keys: ArcSwap::from_pointee(keys),
        })
    }

    /// The keys of this moment.
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    /// Loads them again; on failure those in use stay.
    ///
    /// # Errors
    /// Where the store does not answer, or holds no key.
    pub async fn refresh(&self) -> PortResult<()> {
        self.keys.store(Arc::new(Keys::of(&self.store.load().await?)?));
        Ok(())
    }

    /// Makes a new signing key and uses it at once; the previous one goes on verifying.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn rotate(&self) -> PortResult<()> {
        self.keys.store(Arc::new(Keys::of(&self.store.rotate().await?)?));
        Ok(())
    }
}
