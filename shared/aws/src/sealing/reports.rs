//! Corrections and reports: one item for each.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use clickledger_core::domain::correction::{Cause, Correction, HourReport};
use clickledger_core::domain::counter::Counters;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::{PortError, PortResult, SealReports};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Hours;
use super::table::{entity_key, entity_of, fixed, hour_keys, months};
use crate::dynamodb::item::{Item, item, n, number, s, text};
use crate::failure::damaged;

/// Corrections that are written at the same time.
const WRITES_AT_ONCE: usize = 32;

fn partition(hour: Hour) -> String {
    format!("corrections#{}", fixed(hour.0))
}

fn sort_key(version: u64, entity: Entity, minute: Minute) -> String {
    format!("{version:020}#{}#{}", entity_key(entity), fixed(minute.0))
}

/// Counters by their stored names.
fn counters_of(counters: &Counters) -> AttributeValue {
    AttributeValue::M(
        counters
            .iter()
            .map(|(key, count)| (key.to_string(), n(count)))
            .collect(),
    )
}

fn counters(stored: &Item, name: &str) -> PortResult<Counters> {
    let Some(AttributeValue::M(map)) = stored.get(name) else {
        return Err(damaged(name));
    };
    map.keys()
        .map(|key| Ok((key.parse().map_err(|_| damaged(name))?, number(map, key)?)))
        .collect()
}

fn correction(stored: &Item) -> PortResult<Correction> {
    let entity = text(stored, "sk")?.split('#').nth(1).and_then(entity_of);
    let cause = text(stored, "cause")?;
    Ok(Correction {
        entity: entity.ok_or_else(|| damaged("sk"))?,
        minute: Minute(number(stored, "minute")?),
        version: number(stored, "v")?,
        before: counters(stored, "before")?,
        after: counters(stored, "after")?,
        cause: Cause::ALL
            .into_iter()
            .find(|known| known.as_str() == cause)
            .ok_or_else(|| damaged("cause"))?,
        adjustment: number::<u8>(stored, "adjustment")? == 1,
        made_at_ms: number(stored, "made_ms")?,
    })
}

fn report_keys(hour: Hour, at_ms: i64) -> (String, String) {
    let (month, ddhh) = hour_keys(hour);
    (format!("reports#{month}"), format!("{ddhh}#{}", fixed(at_ms)))
}

#[async_trait]
impl SealReports for Hours {
    async fn correct(&self, hour: Hour, corrections: &[Correction]) -> PortResult<()> {
        let items: Vec<Item> = corrections
            .iter()
            .map(|correction| {
                let sk = sort_key(correction.version, correction.entity, correction.minute);
                item([
                    ("pk", s(partition(hour))),
                    ("sk", s(sk)),
                    ("minute", n(correction.minute.0)),
                    ("v", n(correction.version)),
                    ("before", counters_of(&correction.before)),
                    ("after", counters_of(&correction.after)),
                    ("cause", s(correction.cause.as_str())),
                    ("adjustment", n(u8::from(correction.adjustment))),
                    ("made_ms", n(correction.made_at_ms)),
                ])
            })
            .collect();
        stream::iter(items)
            .map(|item| self.table.put(item))
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn corrections(
        &self,
        hour: Hour,
        after: Option<(u64, Entity, Minute)>,
        limit: usize,
    ) -> PortResult<Vec<Correction>> {
        let after = after.map(|(version, entity, minute)| sort_key(version, entity, minute));
        let items = self
            .table
            .behind(&partition(hour), after.as_deref(), Some(limit))
            .await?;
        items.iter().map(correction).collect()
    }

    async fn report(&self, report: &HourReport) -> PortResult<()> {
        let (pk, sk) = report_keys(report.hour, report.at_ms);
        let body = serde_json::to_string(report).map_err(PortError::rejected)?;
        self.table
            .put(item([("pk", s(pk)), ("sk", s(sk)), ("body", s(body))]))
            .await
    }

    async fn reports(
        &self,
        from: Hour,
        to: Hour,
        after: Option<(Hour, i64)>,
        limit: usize,
    ) -> PortResult<Vec<HourReport>> {
        let mut found = Vec::new();
        let behind = after.map(|(hour, at_ms)| (hour, report_keys(hour, at_ms)));
        let from = behind.as_ref().map_or(from, |(hour, _)| from.max(*hour));
        for (first, last) in months(from, to) {
            let (pk, mut low) = report_keys(first, 0);
            let (_, high) = report_keys(last, i64::MAX);
            // One more than asked for: the item that `after` names is left out below.
            if let Some((_, (_, sk))) = behind
                .as_ref()
                .filter(|(_, (month, sk))| *month == pk && *sk > low)
            {
                low.clone_from(sk);
            }
            let left = limit - found.len() + 1;
            for stored in self.table.range(&pk, &low, &high, Some(left)).await? {
                let report: HourReport =
                    serde_json::from_str(text(&stored, "body")?).map_err(|_| damaged("body"))?;
                let is_behind = after.is_none_or(|after| (report.hour, report.at_ms) > after);
                if is_behind && found.len() < limit {
                    found.push(report);
                }
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }
}
