//! The hours' states: one item for each hour, under its month.
//!
//! Invariant: marking an hour touches its mark and nothing else of its item.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortResult, SealStore};

use super::item::{parsed, s};
use super::pages;
use crate::calendar::Day;
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::failure::{self, damaged};
use crate::patience::Patience;

/// The [`SealStore`] on DynamoDB.
#[derive(Clone)]
pub struct Hours {
    client: Client,
    table: String,
    patience: Patience,
}

impl Aws {
    /// The hours' states.
    ///
    /// # Errors
    /// The table's name is missing.
    pub fn hours(&self, patience: Patience) -> Result<Hours, ConfigError> {
        Ok(Hours {
            client: self.dynamodb(),
            table: self.name(Resource::Hours)?,
            patience,
        })
    }
}

/// `yyyymm` and `ddhh`.
fn keys(hour: Hour) -> (String, String) {
    let day = Day::of_number(hour.0.div_euclid(24));
    let sort_key = format!("{:02}{:02}", day.day_of_month(), hour.0.rem_euclid(24));
    (day.month_key(), sort_key)
}

/// The first hour of the month that holds this one.
fn month_start(hour: Hour) -> Hour {
    let days = hour.0.div_euclid(24);
    let of_month = i64::from(Day::of_number(days).day_of_month());
    Hour((days - of_month + 1) * 24)
}

/// `from..to` cut at the ends of months: the first and the last hour of each part.
fn months(from: Hour, to: Hour) -> Vec<(Hour, Hour)> {
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

#[async_trait]
impl SealStore for Hours {
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()> {
        let mut hours = hours.to_vec();
        hours.sort_unstable();
        hours.dedup();
        for hour in hours {
            let (month, sort_key) = keys(hour);
            let update = self
                .client
                .update_item()
                .table_name(&self.table)
                .key("month", s(month))
                .key("hour", s(sort_key))
                .update_expression("SET dirty = :dirty")
                .expression_attribute_values(":dirty", AttributeValue::Bool(true));
            let mark = || async { update.clone().send().await.map_err(failure::of_sdk).map(drop) };
            self.patience.run(mark).await?;
        }
        Ok(())
    }

    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>> {
        let mut dirty = Vec::new();
        for (first, last) in months(from, to) {
            let ((month, from), (_, to)) = (keys(first), keys(last));
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("#month = :month AND #hour BETWEEN :from AND :to")
                .filter_expression("dirty = :dirty")
                .expression_attribute_names("#month", "month")
                .expression_attribute_names("#hour", "hour")
                .expression_attribute_values(":month", s(month))
                .expression_attribute_values(":from", s(from))
                .expression_attribute_values(":to", s(to))
                .expression_attribute_values(":dirty", AttributeValue::Bool(true));
            let start = month_start(first).0;
            for item in pages::items(query, None, self.patience).await? {
                let ddhh: i64 = parsed(&item, "hour")?;
                if !(100..=3_123).contains(&ddhh) {
                    return Err(damaged("hour"));
                }
                dirty.push(Hour(start + (ddhh / 100 - 1) * 24 + ddhh % 100));
            }
        }
        Ok(dirty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_ends_of_months() {
        let start = Hour::of(1_767_312_000_000); // 2026-01-02T00
        assert_eq!(keys(start), ("202601".to_owned(), "0200".to_owned()));
        assert_eq!(month_start(start).0, start.0 - 24);
        let february = start.0 + 30 * 24;
        assert_eq!(keys(Hour(february)), ("202602".to_owned(), "0100".to_owned()));
        assert_eq!(keys(Hour(february - 1)), ("202601".to_owned(), "3123".to_owned()));
        assert_eq!(months(start, start), []);
        assert_eq!(
            months(start, Hour(february + 28 * 24 + 1)),
            [
                (start, Hour(february - 1)),
                (Hour(february), Hour(february + 28 * 24 - 1)),
                (Hour(february + 28 * 24), Hour(february + 28 * 24))
            ]
        );
    }
}
