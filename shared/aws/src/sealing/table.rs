//! The table of sealing: one item for each manifest, lease, ruling, correction, report and heartbeat.
//!
//! Invariant: numbers in keys have a fixed width, so that keys sort as what they say does.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::PortResult;

use crate::calendar;
use crate::dynamodb::item::{Item, s};
use crate::dynamodb::pages;
use crate::failure;
use crate::patience::Patience;

/// The table, and how long its calls are waited for.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) patience: Patience,
}

/// How a conditional write ended.
pub(super) enum Conditional {
    /// Applied; the item as it is now, where it was asked for.
    Applied(Item),
    /// Refused; the item as it is, empty where there is none.
    Refused(Item),
}

impl Table {
    /// One item, strongly consistent.
    pub(super) async fn get(&self, pk: &str, sk: &str) -> PortResult<Option<Item>> {
        let get = self.client.get_item().table_name(&self.name);
        let get = get.key("pk", s(pk)).key("sk", s(sk)).consistent_read(true);
        let call = || async { get.clone().send().await.map_err(failure::of_sdk) };
        Ok(self.patience.run(call).await?.item)
    }

    /// Puts an item, whatever was there.
    pub(super) async fn put(&self, item: Item) -> PortResult<()> {
        let put = self.client.put_item().table_name(&self.name).set_item(Some(item));
        let call = || async { put.clone().send().await.map_err(failure::of_sdk).map(drop) };
        self.patience.run(call).await
    }

    /// Puts an item where there is none; otherwise answers what is there.
    pub(super) async fn put_if_absent(&self, item: Item) -> PortResult<Conditional> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let call = || async {
            match put.clone().send().await {
                Ok(_) => Ok(Conditional::Applied(Item::new())),
                Err(error) => match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                        Ok(Conditional::Refused(refused.item.clone().unwrap_or_default()))
                    }
                    _ => Err(failure::of_sdk(error)),
                },
            }
        };
        self.patience.run(call).await
    }

    /// An update of one item, without expressions yet.
    pub(super) fn update(&self, pk: &str, sk: &str) -> UpdateItemFluentBuilder {
        let update = self.client.update_item().table_name(&self.name);
        update.key("pk", s(pk)).key("sk", s(sk))
    }

    /// Makes an update that has a condition.
    pub(super) async fn update_if(&self, update: UpdateItemFluentBuilder) -> PortResult<Conditional> {
        let update = update
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let call = || async {
            match update.clone().send().await {
                Ok(done) => Ok(Conditional::Applied(done.attributes.unwrap_or_default())),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        Ok(Conditional::Refused(refused.item.clone().unwrap_or_default()))
                    }
                    _ => Err(failure::of_sdk(error)),
                },
            }
        };
        self.patience.run(call).await
    }

    /// A strongly consistent query of one partition.
    pub(super) fn query(&self, pk: &str) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.name).consistent_read(true);
        query.expression_attribute_values(":pk", s(pk))
    }

    /// The items of a partition with sort keys from `from` to `to`, both inclusive, in order, at most `limit`.
    pub(super) async fn range(
        &self,
        pk: &str,
        from: &str,
        to: &str,
        limit: Option<usize>,
    ) -> PortResult<Vec<Item>> {
        let query = self
            .query(pk)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":from", s(from))
            .expression_attribute_values(":to", s(to));
        pages::items(query, limit, self.patience).await
    }

    /// The items of a partition behind a sort key, in order, at most `limit`.
    pub(super) async fn behind(
        &self,
        pk: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> PortResult<Vec<Item>> {
        let query = match after {
            None => self.query(pk).key_condition_expression("pk = :pk"),
            Some(after) => self
                .query(pk)
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":after", s(after)),
        };
        pages::items(query, limit, self.patience).await
    }

    /// Deletes an item.
    pub(super) async fn delete(&self, pk: &str, sk: &str) -> PortResult<()> {
        let key = HashMap::from([("pk".to_owned(), s(pk)), ("sk".to_owned(), s(sk))]);
        let delete = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key));
        let call = || async { delete.clone().send().await.map_err(failure::of_sdk).map(drop) };
        self.patience.run(call).await
    }
}

/// A number in a key.
pub(super) fn fixed(number: i64) -> String {
    format!("{number:019}")
}

/// `yyyymm` and `ddhh`.
pub(super) fn hour_keys(hour: Hour) -> (String, String) {
    let day = calendar::Day::of_number(hour.0.div_euclid(24));
    let sort_key = format!("{:02}{:02}", day.day_of_month(), hour.0.rem_euclid(24));
    (day.month_key(), sort_key)
}

/// `yyyy` and `mmdd`.
pub(super) fn day_keys(day: Day) -> (String, String) {
    let date = calendar::Day::of_number(day.0);
    let month = date.month_key();
    let (year, month) = month.split_at(month.len() - 2);
    (year.to_owned(), format!("{month}{:02}", date.day_of_month()))
}

/// The first hour of the month that holds this one.
fn month_start(hour: Hour) -> Hour {
    let days = hour.0.div_euclid(24);
    let of_month = i64::from(calendar::Day::of_number(days).day_of_month());
    Hour((days - of_month + 1) * 24)
}

/// `from..to` cut at the ends of months: the first and the last hour of each part.
pub(super) fn months(from: Hour, to: Hour) -> Vec<(Hour, Hour)> {
    let (mut months, mut first) = (Vec::new(), from);
    while first < to {
        // 31 days on it is the next month, whichever this is.
        let next = month_start(Hour(month_start(first).0 + 31 * 24));
        let end = next.min(to);
        months.push((first, Hour(end.0 - 1)));
        first = end;
    }
    months
}

/// `from..to` cut at the ends of years: the first and the last day of each part.
pub(super) fn years(from: Day, to: Day) -> Vec<(Day, Day)> {
    let mut years: Vec<(Day, Day)> = Vec::new();
    for (first, last) in months(from.first_hour(), to.first_hour()) {
        let (first, last) = (first.day(), last.day());
        match years.last_mut() {
            Some((begin, end)) if day_keys(*begin).0 == day_keys(first).0 => *end = last,
            _ => years.push((first, last)),
        }
    }
    years
}

/// An entity in a key: kinds and ids in the order of [`Entity`]; a pair has two.
pub(super) fn entity_key(entity: Entity) -> String {
    let (kind, id) = match entity {
        Entity::Ad(id) => (1, id.0),
        Entity::Campaign(id) => (2, id.0),
        Entity::Advertiser(id) => (3, id.0),
        Entity::Placement(id) => (4, id.0),
        Entity::Total => (5, 0),
        Entity::AdvertiserPlacement(advertiser, placement) => {
            return format!("6{:019}{:019}", advertiser.0, placement.0);
        }
    };
    format!("{kind}{id:019}")
}

/// Digits of an id in a key.
const ID: usize = 19;

/// The entity of a key.
pub(super) fn entity_of(key: &str) -> Option<Entity> {
    let (kind, id) = key.split_at_checked(1)?;
    if kind == "6" {
        let (advertiser, placement) = id.split_at_checked(ID)?;
        let (advertiser, placement) = (advertiser.parse().ok()?, placement.parse().ok()?);
        return Some(Entity::AdvertiserPlacement(
            AdvertiserId(advertiser),
            PlacementId(placement),
        ));
    }
    let id: u64 = id.parse().ok()?;
    Some(match kind {
        "1" => Entity::Ad(AdId(id)),
        "2" => Entity::Campaign(CampaignId(id)),
        "3" => Entity::Advertiser(AdvertiserId(id)),
        "4" => Entity::Placement(PlacementId(id)),
        "5" => Entity::Total,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_ends_of_months_and_years() {
        let start = Hour::of(1_767_312_000_000); // 2026-01-02T00
        assert_eq!(hour_keys(start), ("202601".to_owned(), "0200".to_owned()));
        let february = start.0 + 30 * 24;
        assert_eq!(
            hour_keys(Hour(february - 1)),
            ("202601".to_owned(), "3123".to_owned())
        );
        assert_eq!(months(start, start), []);
        assert_eq!(
            months(start, Hour(february + 28 * 24 + 1)),
            [
                (start, Hour(february - 1)),
                (Hour(february), Hour(february + 28 * 24 - 1)),
                (Hour(february + 28 * 24), Hour(february + 28 * 24))
            ]
        );
        let day = start.day();
        assert_eq!(day_keys(day), ("2026".to_owned(), "0102".to_owned()));
        assert_eq!(
            years(Day(day.0 - 3), Day(day.0 + 700)),
            [
                (Day(day.0 - 3), Day(day.0 - 2)),
                (Day(day.0 - 1), Day(day.0 + 363)),
                (Day(day.0 + 364), Day(day.0 + 699))
            ]
        );
    }

    #[test]
    fn keys_of_entities_sort_as_entities_do() {
        let entities = [
            Entity::Ad(AdId(9)),
            Entity::Ad(AdId(10)),
            Entity::Campaign(CampaignId(1)),
            Entity::Advertiser(AdvertiserId(i64::MAX as u64)),
            Entity::Placement(PlacementId(2)),
            Entity::Total,
            Entity::AdvertiserPlacement(AdvertiserId(9), PlacementId(i64::MAX as u64)),
            Entity::AdvertiserPlacement(AdvertiserId(10), PlacementId(1)),
            Entity::AdvertiserPlacement(AdvertiserId(10), PlacementId(20)),
        ];
        assert!(entities.is_sorted());
        assert!(entities.map(entity_key).is_sorted());
        assert_eq!(
            entities.map(|entity| entity_of(&entity_key(entity))),
            entities.map(Some)
        );
        for bad in [
            "7x",
            "6x",
            "6",
            "60000000000000000009",
            "6000000000000000000900000000000000000x1",
        ] {
            assert_eq!(entity_of(bad), None, "{bad}");
        }
    }
}
