//! The secrets that tokens are signed with and client data is hashed with.
//!
//! Invariant: a key that was handed out is stored; the first ones are made once, by whoever asks first.

use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::ports::{Entropy, PortResult, TokenKeyMaterial, TokenKeys};
use rusqlite::OptionalExtension;

use crate::failure::Failure;
use crate::group::Group;
use crate::store::Store;
use crate::system::SystemEntropy;

/// The embedded [`TokenKeys`].
#[derive(Clone)]
pub struct TokenKeySafe {
    store: Arc<Store>,
}

impl TokenKeySafe {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

fn secret() -> [u8; 32] {
    let mut secret = [0; 32];
    SystemEntropy.fill(&mut secret);
    secret
}

fn add_key(group: &Group<'_>, id: u8) -> rusqlite::Result<()> {
    group
        .conn
        .prepare_cached("INSERT INTO token_keys(id, secret) VALUES (?1, ?2)")?
        .execute((id, secret()))?;
    Ok(())
}

/// All that is stored; what is missing is made.
fn load(group: &Group<'_>) -> Result<TokenKeyMaterial, Failure> {
    let stored = || -> rusqlite::Result<Vec<(u8, [u8; 32])>> {
        group
            .conn
            .prepare_cached("SELECT id, secret FROM token_keys ORDER BY made")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    let mut signing = stored()?;
    if signing.is_empty() {
        add_key(group, 1)?;
        signing = stored()?;
    }
    group
        .conn
        .prepare_cached("INSERT OR IGNORE INTO hashing_key(one, secret) VALUES (1, ?1)")?
        .execute([secret()])?;
    let hashing = group
        .conn
        .prepare_cached("SELECT secret FROM hashing_key")?
        .query_row([], |row| row.get(0))?;
    Ok(TokenKeyMaterial { signing, hashing })
}

#[async_trait]
impl TokenKeys for TokenKeySafe {
    async fn load(&self) -> PortResult<TokenKeyMaterial> {
        self.store.queue.submit(|group| load(group)).await
    }

    async fn rotate(&self) -> PortResult<TokenKeyMaterial> {
        let rotate = |group: &mut Group<'_>| {
            let newest: Option<u8> = group
                .conn
                .prepare_cached("SELECT id FROM token_keys ORDER BY made DESC LIMIT 1")?
                .query_row([], |row| row.get(0))
                .optional()?;
            // Ids come round after 255 keys, of which two are ever kept.
            add_key(group, newest.map_or(1, |id| id.checked_add(1).unwrap_or(1)))?;
            group
                .conn
                .prepare_cached(
                    "DELETE FROM token_keys WHERE made NOT IN (SELECT made FROM token_keys ORDER BY made DESC LIMIT 2)",
                )?
                .execute([])?;
            load(group)
        };
        self.store.queue.submit(rotate).await
    }
}
