//! Lane logs: an item for each sub-batch, read newest first.
//!
//! Invariant: a read is strongly consistent. It stops where everything older is older than the window, judged by the
//! records' arrivals: those rise with the sequence numbers but for [`DISORDER_MS`].

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::lane::LaneItem;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{LaneLog, PortError, PortResult};

use super::item::{Item, b, bytes, item, n, number, s};
use super::pages;
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure::{self, damaged};
use crate::patience::Patience;

/// How much earlier than an older item a newer one may have arrived, milliseconds. Kinesis promises no order of arrival
/// times; within a shard they differ from it by clocks that are not quite the same.
const DISORDER_MS: i64 = 10 * 60_000;
/// How long an item is kept behind its records' arrival: the 14 days for which an hour may wait to be sealed (a closed shard's
/// last clicks are known from here alone), and two. The stream repeats nothing that is older than 7.
const LIFE_MS: i64 = 16 * 24 * 3_600_000;
/// How often an item is joined with one that somebody else has just written.
const JOINS: usize = 5;

/// The [`LaneLog`] on DynamoDB.
#[derive(Clone)]
pub struct Lanes {
    client: Client,
    table: String,
    patience: Patience,
}

impl Aws {
    /// Lane logs.
    ///
    /// # Errors
    /// The table's name is missing.
    pub fn lanes(&self, patience: Patience) -> Result<Lanes, ConfigError> {
        Ok(Lanes {
            client: self.dynamodb(),
            table: self.name(Resource::Lanes)?,
            patience,
        })
    }
}

fn packed(ids: &[ClickId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_bytes()).collect()
}

fn unpacked(item: &Item, name: &str) -> PortResult<Vec<ClickId>> {
    if !item.contains_key(name) {
        return Ok(Vec::new());
    }
    match bytes(item, name)?.as_chunks::<16>() {
        (ids, []) => Ok(ids.iter().map(|id| ClickId::from_bytes(*id)).collect()),
        _ => Err(damaged(name)),
    }
}

fn lane_item(item: &Item) -> PortResult<LaneItem> {
    Ok(LaneItem {
        last: SequenceNumber::from_bytes(bytes(item, "last")?).ok_or_else(|| damaged("last"))?,
        first_arrival_ms: number(item, "first_ms")?,
        last_arrival_ms: number(item, "last_ms")?,
        ids: unpacked(item, "ids")?,
        late_ids: unpacked(item, "late_ids")?,
    })
}

fn attributes(shard: &ShardId, lane: &LaneItem) -> Item {
    let mut new = item([
        ("shard", s(&**shard)),
        ("last", b(*lane.last.as_bytes())),
        ("first_ms", n(lane.first_arrival_ms)),
        ("last_ms", n(lane.last_arrival_ms)),
        ("expires", n((lane.last_arrival_ms + LIFE_MS) / 1_000)),
    ]);
    for (name, ids) in [("ids", &lane.ids), ("late_ids", &lane.late_ids)] {
        if !ids.is_empty() {
            new.insert(name.to_owned(), b(packed(ids)));
        }
    }
    new
}

impl Lanes {
    /// Puts the item in the place of this one, or where there is none; answers the one that is there instead.
    async fn put(
        &self,
        shard: &ShardId,
        lane: &LaneItem,
        instead: Option<&LaneItem>,
    ) -> PortResult<Option<LaneItem>> {
        let mut put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(attributes(shard, lane)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match instead {
            None => {
                put = put
                    .condition_expression("attribute_not_exists(#last)")
                    .expression_attribute_names("#last", "last");
            }
            Some(instead) => {
                let mut conditions = Vec::new();
                let there = attributes(shard, instead);
                for name in ["first_ms", "last_ms", "ids", "late_ids"] {
                    conditions.push(match there.get(name) {
                        Some(value) => {
                            put = put.expression_attribute_values(format!(":{name}"), value.clone());
                            format!("{name} = :{name}")
                        }
                        None => format!("attribute_not_exists({name})"),
                    });
                }
                put = put.condition_expression(conditions.join(" AND "));
            }
        }
        let try_put = || async {
            match put.clone().send().await {
                Ok(_) => Ok(None),
                Err(error) => match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(refused)) => match refused.item() {
                        Some(found) if !found.is_empty() => lane_item(found).map(Some),
                        _ => Err(PortError::unavailable("refused without an item")),
                    },
                    _ => Err(failure::of_sdk(error)),
                },
            }
        };
        self.patience.run(try_put).await
    }

    /// Items above `after`, newest first, down to where none can have arrived at or after `since_ms`.
    async fn newest_first(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        since_ms: i64,
    ) -> PortResult<Vec<LaneItem>> {
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .scan_index_forward(false)
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_values(":shard", s(&**shard));
        query = match after {
            None => query.key_condition_expression("#shard = :shard"),
            Some(after) => query
                .key_condition_expression("#shard = :shard AND #last > :after")
                .expression_attribute_names("#last", "last")
                .expression_attribute_values(":after", b(*after.as_bytes())),
        };
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let output = pages::page(&query, from.take(), self.patience).await?;
            for item in output.items() {
                let item = lane_item(item)?;
                if item.last_arrival_ms < since_ms.saturating_sub(DISORDER_MS) {
                    return Ok(found);
                }
                if item.last_arrival_ms >= since_ms {
                    found.push(item);
                }
            }
            from = output.last_evaluated_key;
            if from.is_none() {
                return Ok(found);
            }
        }
    }
}

#[async_trait]
impl LaneLog for Lanes {
    async fn append(&self, shard: &ShardId, lane: LaneItem) -> PortResult<()> {
        let mut there: Option<LaneItem> = None;
        for _ in 0..JOINS {
            let joined = match &there {
                Some(there) => there.clone().joined(lane.clone()),
                None => lane.clone(),
            };
            if there.as_ref() == Some(&joined) {
                return Ok(());
            }
            match self.put(shard, &joined, there.as_ref()).await? {
                None => return Ok(()),
                found => there = found,
            }
        }
        Err(PortError::unavailable(
            "others write the same item of the lane log",
        ))
    }

    async fn read(
        &self,
        shard: &ShardId,
        after: Option<SequenceNumber>,
        since_ms: i64,
    ) -> PortResult<Vec<LaneItem>> {
        let mut items = self.newest_first(shard, after, since_ms).await?;
        items.reverse();
        Ok(items)
    }

    async fn expire(&self, shard: &ShardId, up_to: SequenceNumber, before_ms: i64) -> PortResult<usize> {
        let old = self.newest_first(shard, None, i64::MIN).await?;
        let old = old
            .iter()
            .filter(|item| item.last <= up_to && item.last_arrival_ms < before_ms);
        let mut expired = 0;
        for item in old {
            let delete = self
                .client
                .delete_item()
                .table_name(&self.table)
                .key("shard", s(&**shard))
                .key("last", b(*item.last.as_bytes()));
            let forget = || async { delete.clone().send().await.map_err(failure::of_sdk).map(drop) };
            self.patience.run(forget).await?;
            expired += 1;
        }
        Ok(expired)
    }
}
