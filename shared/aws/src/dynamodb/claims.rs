//! Claims: one conditional put, refused with the owner's id.
//!
//! Invariant: the owner that the table names is the answer, whoever asked how often: a refusal by the asker's own click is
//! `First`, for its first answer was lost. `expires` (seconds) lets the table forget, no earlier than `expires_ms` says;
//! the condition compares `expires_ms` itself.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clickledger_core::domain::ids::ClickId;
use clickledger_core::ports::{Claim, ClaimStore, Claimed, PortError, PortResult};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure::damaged;
use crate::patience::Patience;
use crate::signed::{Operation, Signed};

const PUT: Operation = Operation {
    target: "DynamoDB_20120810.PutItem",
    content: "application/x-amz-json-1.0",
};
const REFUSED: &str = "ConditionalCheckFailedException";

/// The [`ClaimStore`] on DynamoDB.
pub struct Claims {
    client: Signed,
    table: String,
    patience: Patience,
}

impl Aws {
    /// Claims, each asked for with this patience.
    ///
    /// # Errors
    /// The table's name is missing.
    pub async fn claims(&self, patience: Patience) -> Result<Claims, ConfigError> {
        Ok(Claims {
            client: self.signed("dynamodb").await?,
            table: self.name(Resource::Claims)?,
            patience,
        })
    }
}

#[derive(Serialize)]
struct Binary<'a> {
    #[serde(rename = "B")]
    base64: &'a str,
}

#[derive(Serialize)]
struct Number {
    #[serde(rename = "N", serialize_with = "as_text")]
    number: i64,
}

/// Numbers travel as texts.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn as_text<S: serde::Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[derive(Serialize)]
struct PutItem<'a> {
    #[serde(rename = "TableName")]
    table: &'a str,
    #[serde(rename = "Item")]
    item: ClaimItem<'a>,
    #[serde(rename = "ConditionExpression")]
    condition: &'a str,
    #[serde(rename = "ExpressionAttributeValues")]
    values: Values,
    #[serde(rename = "ReturnValuesOnConditionCheckFailure")]
    on_refusal: &'a str,
}

#[derive(Serialize)]
struct ClaimItem<'a> {
    impression_id: Binary<'a>,
    click_id: Binary<'a>,
    expires_ms: Number,
    expires: Number,
}

#[derive(Serialize)]
struct Values {
    #[serde(rename = ":now")]
    now: Number,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "Item")]
    item: Option<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    click_id: Bytes,
}

#[derive(Deserialize)]
struct Bytes {
    #[serde(rename = "B")]
    base64: String,
}

/// 16 bytes in base64, without an allocation.
fn base64(id: [u8; 16], text: &mut [u8; 24]) -> &str {
    let length = STANDARD.encode_slice(id, text).unwrap_or(0);
    std::str::from_utf8(&text[..length]).unwrap_or_default()
}

fn owner(body: &[u8]) -> PortResult<ClickId> {
    let refusal: Refusal = serde_json::from_slice(body).map_err(PortError::ambiguous)?;
    // Refused, and nothing there: an expired claim that the table forgot at this very moment. Another try will do.
    let owner = refusal
        .item
        .ok_or_else(|| PortError::unavailable("refused without an owner"))?;
    let mut id = [0; 16];
    match STANDARD.decode_slice_unchecked(owner.click_id.base64, &mut id) {
        Ok(16) => Ok(ClickId::from_bytes(id)),
        _ => Err(damaged("click_id")),
    }
}

impl Claims {
    fn put(&self, claim: &Claim, now_ms: i64) -> PortResult<Vec<u8>> {
        let (mut impression, mut click) = ([0; 24], [0; 24]);
        let put = PutItem {
            table: &self.table,
            item: ClaimItem {
                impression_id: Binary {
                    base64: base64(claim.impression_id.to_bytes(), &mut impression),
                },
                click_id: Binary {
                    base64: base64(claim.click_id.to_bytes(), &mut click),
                },
                expires_ms: Number {
                    number: claim.expires_ms,
                },
                expires: Number {
                    number: claim.expires_ms.div_euclid(1_000) + 1,
                },
            },
            condition: "attribute_not_exists(impression_id) OR expires_ms < :now",
            values: Values {
                now: Number { number: now_ms },
            },
            on_refusal: "ALL_OLD",
        };
        let mut body = Vec::with_capacity(512);
        serde_json::to_writer(&mut body, &put).map_err(PortError::rejected)?;
        Ok(body)
    }
}

#[async_trait]
impl ClaimStore for Claims {
    async fn claim(&self, claim: Claim, now_ms: i64) -> PortResult<Claimed> {
        let put = self.put(&claim, now_ms)?;
        let ask = || async {
            let answer = self.client.call(PUT, put.clone()).await?;
            if answer.status == 200 {
                return Ok(Claimed::First);
            }
            if answer.code().as_deref() != Some(REFUSED) {
                return Err(answer.fault());
            }
            match owner(&answer.body)? {
                owner if owner == claim.click_id => Ok(Claimed::First),
                other => Ok(Claimed::DuplicateOf(other)),
            }
        };
        self.patience.run(ask).await
    }

    /// The table forgets by itself.
    async fn purge(&self, _now_ms: i64, _limit: usize) -> PortResult<usize> {
        Ok(0)
    }
}
