//! API keys and sessions: one item for each, with the secret's hash.
//!
//! Invariant: only a key's item has `listed`, only a session's has `session_of`; neither is read as the other.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use clickledger_core::domain::api_key::{ApiKey, KeyId, Scope};
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::domain::session::Session;
use clickledger_core::ports::{ApiKeys, Changed, PortResult};

use super::conditional;
use super::item::{Item, b, bytes, item, list, n, number, optional_number, parsed, s, text};
use super::pages;
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure::{self, damaged};
use crate::patience::Patience;

/// The partition of the index that lists all keys.
const LISTED: &str = "key";

/// The [`ApiKeys`] on DynamoDB. Read strongly consistent: a revoked key opens nothing more.
#[derive(Clone)]
pub struct Keys {
    client: Client,
    table: String,
    patience: Patience,
}

impl Aws {
    /// API keys.
    ///
    /// # Errors
    /// The table's name is missing.
    pub fn keys(&self, patience: Patience) -> Result<Keys, ConfigError> {
        Ok(Keys {
            client: self.dynamodb(),
            table: self.name(Resource::Keys)?,
            patience,
        })
    }
}

fn to_item(key: &ApiKey) -> Item {
    let mut item = item([
        ("key_id", s(key.key_id.as_str())),
        ("listed", s(LISTED)),
        ("secret_sha256", b(key.secret_sha256)),
        ("created_ms", n(key.created_ms)),
    ]);
    let mut with = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
    match &key.scope {
        Scope::Admin => {
            with("scope", s("admin"));
        }
        Scope::Advertiser {
            advertiser_id,
            read_only,
        } => {
            with("scope", s("advertiser"));
            with("advertiser_id", n(advertiser_id));
            with("read_only", AttributeValue::Bool(*read_only));
        }
        Scope::Publisher { placement_ids } => {
            with("scope", s("publisher"));
            with(
                "placement_ids",
                AttributeValue::L(placement_ids.iter().map(n).collect()),
            );
        }
    }
    for (name, time) in [("revoked_ms", key.revoked_ms), ("last_used_ms", key.last_used_ms)] {
        if let Some(time) = time {
            with(name, n(time));
        }
    }
    item
}

fn scope(item: &Item) -> PortResult<Scope> {
    Ok(match text(item, "scope")? {
        "admin" => Scope::Admin,
        "advertiser" => Scope::Advertiser {
            advertiser_id: AdvertiserId(number(item, "advertiser_id")?),
            read_only: match item.get("read_only") {
                Some(AttributeValue::Bool(read_only)) => *read_only,
                _ => return Err(damaged("read_only")),
            },
        },
        "publisher" => {
            let id = |value: &AttributeValue| {
                let digits = value.as_n().map_err(|_| damaged("placement_ids"))?;
                digits
                    .parse()
                    .map(PlacementId)
                    .map_err(|_| damaged("placement_ids"))
            };
            Scope::Publisher {
                placement_ids: list(item, "placement_ids")?
                    .iter()
                    .map(id)
                    .collect::<PortResult<_>>()?,
            }
        }
        _ => return Err(damaged("scope")),
    })
}

fn of_item(item: &Item) -> PortResult<ApiKey> {
    Ok(ApiKey {
        key_id: parsed(item, "key_id")?,
        secret_sha256: secret(item)?,
        scope: scope(item)?,
        created_ms: number(item, "created_ms")?,
        revoked_ms: optional_number(item, "revoked_ms")?,
        last_used_ms: optional_number(item, "last_used_ms")?,
    })
}

/// Without `listed`, so that no list of keys has it; DynamoDB deletes it some time after `expires`.
fn of_session(session: &Session) -> Item {
    item([
        ("key_id", s(session.session_id.as_str())),
        ("session_of", s(session.key_id.as_str())),
        ("secret_sha256", b(session.secret_sha256)),
        ("created_ms", n(session.created_ms)),
        ("expires_ms", n(session.expires_ms)),
        ("expires", n(session.expires_ms.div_euclid(1_000) + 1)),
    ])
}

fn to_session(item: &Item) -> PortResult<Session> {
    Ok(Session {
        session_id: parsed(item, "key_id")?,
        secret_sha256: secret(item)?,
        key_id: parsed(item, "session_of")?,
        created_ms: number(item, "created_ms")?,
        expires_ms: number(item, "expires_ms")?,
    })
}

fn secret(item: &Item) -> PortResult<[u8; 32]> {
    bytes(item, "secret_sha256")?
        .try_into()
        .map_err(|_| damaged("secret_sha256"))
}

impl Keys {
    /// The item of this id, read strongly consistent.
    async fn item(&self, key_id: &KeyId) -> PortResult<Option<Item>> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .consistent_read(true)
            .key("key_id", s(key_id.as_str()));
        let read = || async { get.clone().send().await.map_err(failure::of_sdk) };
        Ok(self.patience.run(read).await?.item)
    }

    /// Puts an item whose id must not be taken.
    async fn put_new(&self, item: Item) -> PortResult<Changed> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(key_id)");
        conditional::put(put, self.patience).await
    }

    /// Updates an item that is there and has this attribute; says whether it was.
    async fn update(
        &self,
        key_id: &KeyId,
        has: &str,
        update: impl Fn(UpdateItemFluentBuilder) -> UpdateItemFluentBuilder + Sync,
    ) -> PortResult<bool> {
        let started = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("key_id", s(key_id.as_str()))
            .condition_expression(format!("attribute_exists({has})"));
        let update = update(started);
        let try_it = || conditional::try_update(update.clone());
        self.patience.run(try_it).await
    }
}

#[async_trait]
impl ApiKeys for Keys {
    async fn create(&self, key: &ApiKey) -> PortResult<Changed> {
        self.put_new(to_item(key)).await
    }

    async fn get(&self, key_id: &KeyId) -> PortResult<Option<ApiKey>> {
        let found = self.item(key_id).await?;
        let key = found.filter(|item| !item.contains_key("session_of"));
        key.as_ref().map(of_item).transpose()
    }

    async fn list(&self, after: Option<&KeyId>, limit: usize) -> PortResult<Vec<ApiKey>> {
        // '#' is below everything that a key's id may begin with, and a key may not be empty.
        let after = after.map_or("#", KeyId::as_str);
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("listing")
            .key_condition_expression("listed = :listed AND key_id > :after")
            .expression_attribute_values(":listed", s(LISTED))
            .expression_attribute_values(":after", s(after));
        let items = pages::items(query, Some(limit), self.patience).await?;
        items.iter().map(of_item).collect()
    }

    async fn revoke(&self, key_id: &KeyId, now_ms: i64) -> PortResult<Changed> {
        let revoke = |update: UpdateItemFluentBuilder| {
            update
                .update_expression("SET revoked_ms = if_not_exists(revoked_ms, :now)")
                .expression_attribute_values(":now", n(now_ms))
        };
        let found = self.update(key_id, "listed", revoke).await?;
        Ok(if found { Changed::Done } else { Changed::NotFound })
    }

    async fn touch(&self, key_id: &KeyId, hour_ms: i64) -> PortResult<()> {
        let touch = |update: UpdateItemFluentBuilder| {
            update
                .update_expression("SET last_used_ms = :hour")
                .expression_attribute_values(":hour", n(hour_ms))
        };
        self.update(key_id, "listed", touch).await.map(drop)
    }

    async fn begin_session(&self, session: &Session) -> PortResult<Changed> {
        self.put_new(of_session(session)).await
    }

    async fn session(&self, session_id: &KeyId) -> PortResult<Option<Session>> {
        let found = self.item(session_id).await?;
        let session = found.filter(|item| item.contains_key("session_of") && !item.contains_key("ended"));
        session.as_ref().map(to_session).transpose()
    }

    /// Marked, not deleted: whoever may delete sessions could delete keys.
    async fn end_session(&self, session_id: &KeyId) -> PortResult<()> {
        let end = |update: UpdateItemFluentBuilder| {
            update
                .update_expression("SET ended = :ended")
                .expression_attribute_values(":ended", AttributeValue::Bool(true))
        };
        self.update(session_id, "session_of", end).await.map(drop)
    }
}
