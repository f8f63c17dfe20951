//! Quarantine on S3: one object for each record or delta that can never be counted.
//!
//! Invariant: an object's name is its place in the stream and a hash of what it holds, so that putting the same thing away
//! twice keeps it once.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clickledger_core::ports::{PortError, PortResult, Quarantine, Quarantined};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::calendar::Day;
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure;
use crate::patience::Patience;

/// The [`Quarantine`] on S3.
#[derive(Clone)]
pub struct QuarantineBucket {
    client: Client,
    bucket: String,
    patience: Patience,
}

impl Aws {
    /// The quarantine.
    ///
    /// # Errors
    /// The bucket's name is missing.
    pub fn quarantine(&self, patience: Patience) -> Result<QuarantineBucket, ConfigError> {
        Ok(QuarantineBucket {
            client: self.s3(),
            bucket: self.name(Resource::Bucket)?,
            patience,
        })
    }
}

#[derive(Serialize)]
struct Object<'a> {
    shard: &'a str,
    sequence_number: String,
    arrived_at_ms: i64,
    reason: &'a str,
    bytes_base64: String,
}

/// The object's name: several deltas may begin with one record, so their bytes tell them apart.
fn key(item: &Quarantined) -> String {
    let hash = Sha256::digest(&item.bytes);
    let mark: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let day = Day::of_ms(item.arrived_at_ms).dashed();
    format!(
        "quarantine/dt={day}/{}/{}-{mark}.json",
        item.shard, item.sequence_number
    )
}

#[async_trait]
impl Quarantine for QuarantineBucket {
    async fn keep(&self, item: Quarantined) -> PortResult<()> {
        let object = serde_json::to_vec(&Object {
            shard: &item.shard,
            sequence_number: item.sequence_number.to_string(),
            arrived_at_ms: item.arrived_at_ms,
            reason: &item.reason,
            bytes_base64: STANDARD.encode(&item.bytes),
        })
        .map_err(PortError::rejected)?;
        let put = || async {
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(key(&item))
                .content_type("application/json")
                .body(object.clone().into())
                .send()
                .await
                .map_err(failure::of_sdk)
                .map(drop)
        };
        self.patience.run(put).await
    }
}
