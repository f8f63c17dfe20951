//! Acknowledged heartbeats, and the shards that they know.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::heartbeat::Beat;
use clickledger_core::domain::ids::HeartbeatId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{BeatenShard, HeartbeatLog, PortResult, Shard};

use super::Hours;
use super::table::fixed;
use crate::dynamodb::item::{Item, b, bytes, item, list, n, number, s, text};
use crate::dynamodb::pages;
use crate::failure::damaged;
use crate::kinesis_shards::parents_first;

const SHARDS: &str = "shards";
/// Behind every sort key of a heartbeat.
const LAST: &str = "~";

fn partition(shard: &ShardId) -> String {
    format!("beats#{shard}")
}

fn sort_key(beat: &Beat) -> String {
    format!("{}#{:032x}", fixed(beat.sent_at_ms), beat.id.0)
}

fn beat(shard: &ShardId, item: &Item) -> PortResult<Beat> {
    let id = bytes(item, "id")?.try_into().map_err(|_| damaged("id"))?;
    Ok(Beat {
        id: HeartbeatId::from_bytes(id),
        shard: shard.clone(),
        sequence_number: SequenceNumber::from_bytes(bytes(item, "sequence")?)
            .ok_or_else(|| damaged("sequence"))?,
        sent_at_ms: number(item, "sent_ms")?,
        acknowledged_at_ms: number(item, "acknowledged_ms")?,
    })
}

fn beaten(item: &Item) -> PortResult<BeatenShard> {
    let parents = list(item, "parents")?.iter().map(|parent| match parent {
        AttributeValue::S(parent) => Ok(parent.as_str().into()),
        _ => Err(damaged("parents")),
    });
    Ok(BeatenShard {
        shard: text(item, "sk")?.into(),
        parents: parents.collect::<PortResult<_>>()?,
    })
}

impl Hours {
    /// The first heartbeat from the end that `wanted` takes, looking back from the sort key `before`.
    async fn back_from(
        &self,
        shard: &ShardId,
        before: &str,
        wanted: impl Fn(&Beat) -> bool,
    ) -> PortResult<Option<Beat>> {
        let query = self
            .table
            .query(&partition(shard))
            .key_condition_expression("pk = :pk AND sk < :before")
            .expression_attribute_values(":before", s(before))
            .scan_index_forward(false)
            .limit(10);
        let mut from = None;
        loop {
            let page = pages::page(&query, from.take(), self.table.patience).await?;
            for item in page.items() {
                let beat = beat(shard, item)?;
                if wanted(&beat) {
                    return Ok(Some(beat));
                }
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(None);
            }
        }
    }
}

#[async_trait]
impl HeartbeatLog for Hours {
    async fn know(&self, shard: &BeatenShard) -> PortResult<()> {
        let parents = shard.parents.iter().map(|parent| s(&**parent)).collect();
        let known = item([
            ("pk", s(SHARDS)),
            ("sk", s(&*shard.shard)),
            ("parents", AttributeValue::L(parents)),
        ]);
        // The first word on its parents stands: later the stream may no longer list them.
        self.table.put_if_absent(known).await.map(drop)
    }

    async fn known(&self) -> PortResult<Vec<BeatenShard>> {
        let items = self.table.behind(SHARDS, None, None).await?;
        let shards = items.iter().map(beaten).collect::<PortResult<Vec<_>>>()?;
        let listed = shards
            .into_iter()
            .map(|known| Shard {
                id: known.shard,
                parents: known.parents,
                closed: false,
            })
            .collect();
        let ordered = parents_first(listed).into_iter().map(|shard| BeatenShard {
            shard: shard.id,
            parents: shard.parents,
        });
        Ok(ordered.collect())
    }

    async fn acknowledged(&self, beat: &Beat) -> PortResult<()> {
        let noted = item([
            ("pk", s(partition(&beat.shard))),
            ("sk", s(sort_key(beat))),
            ("id", b(beat.id.to_bytes())),
            ("sequence", b(*beat.sequence_number.as_bytes())),
            ("sent_ms", n(beat.sent_at_ms)),
            ("acknowledged_ms", n(beat.acknowledged_at_ms)),
        ]);
        self.table.put(noted).await
    }

    async fn around(&self, shard: &ShardId, from_ms: i64, to_ms: i64) -> PortResult<Vec<Beat>> {
        // What was acknowledged by then was sent before.
        let before = self
            .back_from(shard, &format!("{}{LAST}", fixed(from_ms)), |beat| {
                beat.acknowledged_at_ms <= from_ms
            })
            .await?;
        let from = before.as_ref().map_or_else(String::new, sort_key);
        let pk = partition(shard);
        let mut found: Vec<Beat> = Vec::new();
        if before.is_some() || to_ms > from_ms {
            let to = format!("{}#", fixed(to_ms));
            let query_from = if from.is_empty() { " " } else { &from };
            for item in self.table.range(&pk, query_from, &to, None).await? {
                found.push(beat(shard, &item)?);
            }
        }
        let first_after = self
            .table
            .behind(&pk, Some(&format!("{}#", fixed(to_ms))), Some(1))
            .await?;
        for item in first_after {
            found.push(beat(shard, &item)?);
        }
        Ok(found)
    }

    async fn last(&self, shard: &ShardId) -> PortResult<Option<Beat>> {
        self.back_from(shard, LAST, |_| true).await
    }

    async fn expire(&self, before_ms: i64) -> PortResult<usize> {
        let mut forgotten = 0;
        for known in self.known().await? {
            let pk = partition(&known.shard);
            let Some(last) = self.last(&known.shard).await? else {
                continue;
            };
            let old = self
                .table
                .range(&pk, " ", &format!("{}#", fixed(before_ms)), None)
                .await?;
            for item in old {
                let beat = beat(&known.shard, &item)?;
                if beat.id != last.id && beat.acknowledged_at_ms < before_ms {
                    self.table.delete(&pk, &sort_key(&beat)).await?;
                    forgotten += 1;
                }
            }
        }
        Ok(forgotten)
    }
}
