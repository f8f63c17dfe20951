//! The spill on SQS: a message for each click that could not be published.
//!
//! Invariant: a message holds the record's line and the partition key that it was first put with.

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clickledger_core::ports::{Outgoing, PortError, PortResult, Spill, Spilled};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure;
use crate::patience::Patience;

/// The field of a log's line that holds a record which neither stream nor spill took, in the form of [`SpillQueue::body`].
pub const LAST_RESORT_FIELD: &str = "last_resort_record";
/// Most messages of one receipt.
const MAX_MESSAGES: usize = 10;
/// Longest time that a message may be hidden, seconds.
const MAX_HIDDEN_S: u64 = 12 * 3_600;

/// The [`Spill`] on SQS.
#[derive(Clone)]
pub struct SpillQueue {
    client: Client,
    url: String,
    patience: Patience,
}

impl Aws {
    /// The spill.
    ///
    /// # Errors
    /// The queue's URL is missing.
    pub fn spill(&self, patience: Patience) -> Result<SpillQueue, ConfigError> {
        Ok(SpillQueue::at(
            self.sqs(),
            self.name(Resource::SpillQueue)?,
            patience,
        ))
    }
}

#[derive(Serialize, Deserialize)]
struct Message {
    partition_key: String,
    /// The line, base64.
    data: String,
}

impl SpillQueue {
    /// The queue of this URL.
    pub(crate) fn at(client: Client, url: String, patience: Patience) -> Self {
        Self {
            client,
            url,
            patience,
        }
    }

    /// The body of a record's message.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn body(record: &Outgoing) -> PortResult<String> {
        let message = Message {
            partition_key: record.partition_key.clone(),
            data: STANDARD.encode(&record.data),
        };
        serde_json::to_string(&message).map_err(PortError::rejected)
    }

    /// The record of a message's body: for a function that the queue triggers.
    ///
    /// # Errors
    /// [`PortError::Rejected`]: no such body.
    pub fn record(body: &str) -> PortResult<Outgoing> {
        let message: Message = serde_json::from_str(body).map_err(PortError::rejected)?;
        Ok(Outgoing {
            partition_key: message.partition_key,
            data: STANDARD.decode(message.data).map_err(PortError::rejected)?,
        })
    }
}

#[async_trait]
impl Spill for SpillQueue {
    async fn keep(&self, record: Outgoing) -> PortResult<()> {
        let send = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(Self::body(&record)?);
        let keep = || async { send.clone().send().await.map_err(failure::of_sdk).map(drop) };
        self.patience.run(keep).await
    }

    /// The queue has a clock of its own: `now_ms` is not asked.
    async fn receive(&self, limit: usize, _now_ms: i64, hidden_ms: u64) -> PortResult<Vec<Spilled>> {
        let hidden_s = hidden_ms.div_ceil(1_000).min(MAX_HIDDEN_S);
        let mut received = Vec::new();
        while received.len() < limit {
            let most = (limit - received.len()).min(MAX_MESSAGES);
            let receive = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(i32::try_from(most).unwrap_or(1))
                .visibility_timeout(i32::try_from(hidden_s).unwrap_or(i32::MAX));
            let ask = || async { receive.clone().send().await.map_err(failure::of_sdk) };
            let messages = self.patience.run(ask).await?.messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let (Some(receipt), Some(body)) = (message.receipt_handle, message.body) else {
                    continue;
                };
                match Self::record(&body) {
                    Ok(record) => received.push(Spilled { receipt, record }),
                    // Not ours. It stays, and the queue's redrive policy takes it to the dead letters.
                    Err(error) => tracing::error!(%error, "a message of the spill could not be read"),
                }
            }
        }
        Ok(received)
    }

    async fn settled(&self, receipt: &str) -> PortResult<()> {
        let delete = self
            .client
            .delete_message()
            .queue_url(&self.url)
            .receipt_handle(receipt);
        let settle = || async {
            match delete.clone().send().await {
                Ok(_) => Ok(()),
                // A receipt of a message that is gone, as some queues see it: settled before.
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|e| e.is_receipt_handle_is_invalid()) =>
                {
                    Ok(())
                }
                Err(error) => Err(failure::of_sdk(error)),
            }
        };
        self.patience.run(settle).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_its_record() {
        let record = Outgoing {
            partition_key: "7#\"3".to_owned(),
            data: (0..=255).collect(),
        };
        let body = SpillQueue::body(&record).unwrap();
        assert_eq!(SpillQueue::record(&body).unwrap(), record);
        for bad in ["", "{}", "{\"partition_key\":\"7#3\",\"data\":\"?\"}"] {
            assert!(
                matches!(SpillQueue::record(bad), Err(PortError::Rejected(_))),
                "{bad:?}"
            );
        }
    }
}
