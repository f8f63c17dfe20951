//! Heartbeats: a record put on a chosen shard, by a hash key of its range.
//!
//! Invariant: only a record that Kinesis says lies on the wanted shard is acknowledged.

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{Heartbeats, PortError, PortResult};

use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure::{self, damaged};
use crate::kinesis_shards::listed;
use crate::patience::Patience;

/// The partition key of heartbeats; the hash key decides, but Kinesis wants one.
const PARTITION_KEY: &str = "heartbeat";

/// The [`Heartbeats`] on Kinesis.
pub struct Beats {
    client: Client,
    stream: String,
    patience: Patience,
}

impl Aws {
    /// Heartbeats on the click stream.
    ///
    /// # Errors
    /// The stream's name is missing.
    pub fn beats(&self, patience: Patience) -> Result<Beats, ConfigError> {
        Ok(Beats {
            client: self.kinesis(),
            stream: self.name(Resource::Stream)?,
            patience,
        })
    }
}

#[async_trait]
impl Heartbeats for Beats {
    async fn beat(&self, shard: &ShardId, line: Vec<u8>) -> PortResult<SequenceNumber> {
        // Asked each time: once a minute, and a shard may have been split since.
        let shards = listed(&self.client, &self.stream, self.patience).await?;
        let range = shards
            .iter()
            .find(|listed| listed.shard_id() == &**shard)
            .and_then(|listed| listed.hash_key_range())
            .ok_or_else(|| PortError::rejected(format!("there is no shard {shard}")))?;
        let put = self.client.put_record().stream_name(&self.stream);
        let put = put
            .partition_key(PARTITION_KEY)
            .explicit_hash_key(range.starting_hash_key())
            .data(Blob::new(line));
        let call = || async { put.clone().send().await.map_err(failure::of_sdk) };
        let answer = self.patience.run_once(call).await?;
        if answer.shard_id() != &**shard {
            let went = answer.shard_id();
            return Err(PortError::rejected(format!(
                "{shard} is closed: it went to {went}"
            )));
        }
        SequenceNumber::from_decimal(answer.sequence_number()).map_err(|_| damaged("sequence number"))
    }
}
