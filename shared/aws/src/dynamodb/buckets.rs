//! Partials: one conditional update for each, which adds the counts and moves the watermark together.
//!
//! Invariant: the condition compares the stored watermark's bytes; a refusal answers with them. An update whose answer was
//! lost and which is made again is therefore refused by its own `last`, and adds nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use clickledger_core::domain::bucket::{Bucket, Committed, Condition, PartialWrite};
use clickledger_core::domain::counter::{Counted, CounterKey, Counters};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{DAY_MS, Hour, MINUTE_MS, Minute};
use clickledger_core::ports::{BucketStore, MinuteTotals, PortResult};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::item::{Item, b, bytes, n, s, text};
use super::pages;
use crate::calendar::Day;
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure::{self, damaged};
use crate::patience::Patience;

const MINUTES_PER_DAY: i64 = DAY_MS / MINUTE_MS;
/// Updates under way at the same time, of one call.
const WRITES_AT_ONCE: usize = 64;
/// Days that are read at the same time, of one call.
const DAYS_AT_ONCE: usize = 8;

/// The [`BucketStore`] on DynamoDB. Reads are eventually consistent, at half the price: a count is visible a second later,
/// and what is billed comes from sealing, which proves it.
#[derive(Clone)]
pub struct Buckets {
    client: Client,
    table: String,
    life_ms: Option<i64>,
    patience: Patience,
}

impl Aws {
    /// Buckets, each write with this patience.
    ///
    /// # Errors
    /// The table's name is missing.
    pub fn buckets(&self, patience: Patience) -> Result<Buckets, ConfigError> {
        Ok(Buckets {
            client: self.dynamodb(),
            table: self.name(Resource::Buckets)?,
            life_ms: None,
            patience,
        })
    }
}

fn partition_key(entity: Entity, minute: Minute) -> String {
    format!("{entity}#{}", Day::of_ms(minute.start_ms()))
}

/// `p#hhmm`: in front of every shard's partial of the minute.
fn minute_prefix(minute: Minute) -> String {
    let of_day = minute.0.rem_euclid(MINUTES_PER_DAY);
    format!("p#{:02}{:02}", of_day / 60, of_day % 60)
}

/// The minute of a sort key, in the day that begins with `day`.
fn minute_of(sort_key: &str, day: Minute) -> Option<Minute> {
    let digits = sort_key.strip_prefix("p#")?.get(..4)?;
    let of_day: i64 = digits.parse().ok()?;
    Some(Minute(day.0 + of_day / 100 * 60 + of_day % 100))
}

fn watermark(item: &Item) -> PortResult<SequenceNumber> {
    SequenceNumber::from_bytes(bytes(item, "w")?).ok_or_else(|| damaged("w"))
}

/// Adds what an item counts. Every attribute that is not one of its own must be a counter: one that this code does not
/// know would otherwise be left out of the sum.
fn add_counters(item: &Item, counters: &mut Counters) -> PortResult<()> {
    for (name, value) in item {
        if matches!(&**name, "pk" | "sk" | "w" | "expires") {
            continue;
        }
        let key: CounterKey = name.parse().map_err(|_| damaged(name))?;
        let AttributeValue::N(count) = value else {
            return Err(damaged(name));
        };
        counters.add(key, count.parse().map_err(|_| damaged(name))?);
    }
    Ok(())
}

impl Buckets {
    /// The same, with partials that the table may forget so long after their minute, milliseconds: longer than the stream
    /// keeps records and than an hour may be sealed again. Without it they are kept.
    #[must_use]
    pub fn with_life_ms(self, life_ms: i64) -> Self {
        Self {
            life_ms: Some(life_ms),
            ..self
        }
    }

    /// Deletes an entity's partials of an hour.
    async fn forget_of(&self, entity: Entity, hour: Hour) -> PortResult<()> {
        let first = hour.first_minute();
        let (pk, of_hour) = (partition_key(entity, first), minute_prefix(first));
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :hour)")
            .projection_expression("sk")
            .expression_attribute_values(":pk", s(&*pk))
            .expression_attribute_values(":hour", s(&of_hour[.."p#hh".len()]));
        for item in pages::items(query, None, self.patience).await? {
            let delete = self.client.delete_item().table_name(&self.table);
            let delete = delete.key("pk", s(&*pk)).key("sk", s(text(&item, "sk")?));
            let call = || async { delete.clone().send().await.map_err(failure::of_sdk).map(drop) };
            self.patience.run(call).await?;
        }
        Ok(())
    }

    fn update(&self, write: &PartialWrite) -> UpdateItemFluentBuilder {
        let minute = write.key.minute;
        let sort_key = format!("{}#{}", minute_prefix(minute), write.shard);
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", s(partition_key(write.key.entity, minute)))
            .key("sk", s(sort_key))
            .expression_attribute_values(":w", b(*write.last.as_bytes()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut expression = String::from("SET w = :w");
        if let Some(life_ms) = self.life_ms {
            expression.push_str(", expires = :e");
            update = update.expression_attribute_values(":e", n((minute.start_ms() + life_ms) / 1_000 + 1));
        }
        for (place, (key, count)) in write.delta.iter().enumerate() {
            let before = if place == 0 { " ADD" } else { "," };
            // A counter's name begins with a digit, which an expression takes only by another name.
            let _ = write!(expression, "{before} #{place} :{place}");
            update = update
                .expression_attribute_names(format!("#{place}"), key.to_string())
                .expression_attribute_values(format!(":{place}"), n(count));
        }
        let (condition, number) = match &write.condition {
            Condition::Below(first) => ("attribute_not_exists(w) OR w < :c", first),
            Condition::Exactly(watermark) => ("w = :c", watermark),
        };
        update
            .update_expression(expression)
            .condition_expression(condition)
            .expression_attribute_values(":c", b(*number.as_bytes()))
    }

    async fn commit_one(&self, write: PartialWrite) -> PortResult<Committed> {
        let update = self.update(&write);
        let commit = || async {
            match update.clone().send().await {
                Ok(_) => Ok(Committed::Applied),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        let stored = refused.item().filter(|item| !item.is_empty());
                        Ok(Committed::Stale(stored.map(watermark).transpose()?))
                    }
                    _ => Err(failure::of_sdk(error)),
                },
            }
        };
        self.patience.run(commit).await
    }

    /// The entity's partials from `from` to `last`, which are minutes of one day, added up by minute.
    async fn read_day(
        &self,
        entity: Entity,
        from: Minute,
        last: Minute,
    ) -> PortResult<BTreeMap<Minute, Counters>> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(partition_key(entity, from)))
            .expression_attribute_values(":from", s(minute_prefix(from)))
            // Behind every shard of the last minute: '~' is above '#'.
            .expression_attribute_values(":to", s(minute_prefix(last) + "~"));
        let day = Minute(from.0.div_euclid(MINUTES_PER_DAY) * MINUTES_PER_DAY);
        let mut minutes: BTreeMap<Minute, Counters> = BTreeMap::new();
        for item in pages::items(query, None, self.patience).await? {
            let minute = minute_of(text(&item, "sk")?, day).ok_or_else(|| damaged("sk"))?;
            add_counters(&item, minutes.entry(minute).or_default())?;
        }
        Ok(minutes)
    }
}

/// `from..to` cut at midnight: the first and the last minute of each part.
fn days(from: Minute, to: Minute) -> impl Iterator<Item = (Minute, Minute)> {
    let day_of = |minute: i64| minute.div_euclid(MINUTES_PER_DAY);
    let days = if from < to {
        day_of(from.0)..day_of(to.0 - 1) + 1
    } else {
        0..0
    };
    days.map(move |day| {
        let (start, end) = (day * MINUTES_PER_DAY, (day + 1) * MINUTES_PER_DAY);
        (Minute(start.max(from.0)), Minute(end.min(to.0) - 1))
    })
}

#[async_trait]
impl BucketStore for Buckets {
    async fn commit(&self, writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>> {
        let commits = writes.into_iter().map(|write| self.commit_one(write));
        stream::iter(commits).buffered(WRITES_AT_ONCE).collect().await
    }

    async fn read(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<Bucket>> {
        let days = days(from, to).map(|(first, last)| self.read_day(entity, first, last));
        let days: Vec<_> = stream::iter(days).buffered(DAYS_AT_ONCE).try_collect().await?;
        let counted = days
            .into_iter()
            .flatten()
            .filter(|(_, counters)| !counters.is_empty());
        let bucket = |(minute, counters)| Bucket {
            entity,
            minute,
            counters,
        };
        Ok(counted.map(bucket).collect())
    }

    async fn read_totals(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<MinuteTotals>> {
        let totals = |bucket: Bucket| {
            let mut totals = MinuteTotals {
                minute: bucket.minute,
                valid: 0,
                invalid: [0; 9],
            };
            for (key, count) in bucket.counters.iter() {
                match key.counted() {
                    Counted::Cell(..) => totals.valid += count,
                    Counted::Invalid(verdict) => totals.invalid[verdict as usize] += count,
                }
            }
            totals
        };
        // An item is paid for as a whole, whatever is asked of it.
        Ok(self
            .read(entity, from, to)
            .await?
            .into_iter()
            .map(totals)
            .collect())
    }

    async fn forget(&self, hour: Hour, entities: &[Entity]) -> PortResult<()> {
        let forget = entities
            .iter()
            .copied()
            .map(|entity| self.forget_of(entity, hour));
        let forget: Vec<_> = forget.collect();
        stream::iter(forget)
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_midnight() {
        let cut = |from, to| {
            days(Minute(from), Minute(to))
                .map(|(a, b)| (a.0, b.0))
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(5, 5), []);
        assert_eq!(cut(7, 5), []);
        assert_eq!(cut(0, 1_440), [(0, 1_439)]);
        assert_eq!(cut(-2, 1_441), [(-2, -1), (0, 1_439), (1_440, 1_440)]);
    }

    #[test]
    fn keys_say_the_minute() {
        let minute = Minute::of(1_767_312_000_000 + 83 * MINUTE_MS);
        assert_eq!(partition_key(Entity::Total, minute), "t#20260102");
        assert_eq!(minute_prefix(minute), "p#0123");
        let day = Minute(minute.0 - 83);
        assert_eq!(minute_of("p#0123#shardId-000000000001", day), Some(minute));
        assert_eq!(minute_of("x", day), None);
    }
}
