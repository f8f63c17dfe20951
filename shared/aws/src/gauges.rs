//! What waits in the spill and lies in quarantine.
//!
//! Invariant: only attributes of the queue and names of objects are read, never what they hold.

use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName;
use clickledger_core::domain::time::DAY_MS;
use clickledger_core::ports::{Backlog, Gauges, PortError, PortResult};

use crate::calendar::Day;
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure;
use crate::patience::Patience;

/// Messages that can be received, that somebody has received, and that are held back.
const WAITING: [QueueAttributeName; 3] = [
    QueueAttributeName::ApproximateNumberOfMessages,
    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    QueueAttributeName::ApproximateNumberOfMessagesDelayed,
];

/// The [`Gauges`] of a stack. A queue does not tell how old its messages are.
#[derive(Clone)]
pub struct StackGauges {
    sqs: aws_sdk_sqs::Client,
    queue_url: String,
    s3: aws_sdk_s3::Client,
    bucket: String,
    patience: Patience,
}

impl Aws {
    /// Spill and quarantine, to be looked at.
    ///
    /// # Errors
    /// The queue's URL or the bucket's name is missing.
    pub fn gauges(&self, patience: Patience) -> Result<StackGauges, ConfigError> {
        Ok(StackGauges {
            sqs: self.sqs(),
            queue_url: self.name(Resource::SpillQueue)?,
            s3: self.s3(),
            bucket: self.name(Resource::Bucket)?,
            patience,
        })
    }
}

#[async_trait]
impl Gauges for StackGauges {
    async fn spill(&self) -> PortResult<Backlog> {
        let ask = self
            .sqs
            .get_queue_attributes()
            .queue_url(&self.queue_url)
            .set_attribute_names(Some(WAITING.to_vec()));
        let ask = || async { ask.clone().send().await.map_err(failure::of_sdk) };
        let attributes = self.patience.run(ask).await?.attributes.unwrap_or_default();
        let mut waiting = 0;
        for name in &WAITING {
            let count = attributes.get(name).map(|count| count.parse::<u64>());
            waiting += match count {
                Some(Ok(count)) => count,
                _ => return Err(PortError::rejected(format!("the queue does not tell its {name}"))),
            };
        }
        Ok(Backlog {
            waiting,
            oldest_ms: None,
        })
    }

    /// Objects of days of arrival from `from_ms` to `to_ms`, of which those count that were written after `from_ms`.
    async fn quarantined(&self, from_ms: i64, to_ms: i64, most: u64) -> PortResult<u64> {
        let mut found = 0;
        for day in from_ms.div_euclid(DAY_MS)..=to_ms.div_euclid(DAY_MS) {
            let prefix = format!("quarantine/dt={}/", Day::of_number(day).dashed());
            let mut from = None;
            loop {
                let list = self
                    .s3
                    .list_objects_v2()
                    .bucket(&self.bucket)
                    .prefix(&prefix)
                    .set_continuation_token(from.take());
                let list = || async { list.clone().send().await.map_err(failure::of_sdk) };
                let page = self.patience.run(list).await?;
                let written = page.contents().iter().filter_map(|object| object.last_modified());
                found += written
                    .filter(|at| at.secs() >= from_ms.div_euclid(1_000))
                    .count() as u64;
                if found >= most {
                    return Ok(most);
                }
                from = page.next_continuation_token;
                if from.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }
}
