//! Manifests of hours and days, and the marks of dirty hours.
//!
//! Invariant: marking an hour touches its marks alone; a flip touches all but the marks, and its day in the same transaction.

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use clickledger_core::domain::manifest::{DayManifest, HourState, LakeTotals, Manifest};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::{Manifests, PortError, PortResult, SealStore};

use super::Hours;
use super::table::{Conditional, day_keys, hour_keys, months, years};
use crate::dynamodb::item::{Item, n, number, optional_number, s, text};
use crate::failure::{self, damaged};

const STATES: [HourState; 4] = [
    HourState::Open,
    HourState::Sealed,
    HourState::Disputed,
    HourState::Closed,
];

/// Makes a day unsealed.
const REOPEN: &str = "SET n = :n, v = :zero ADD generation :one";

fn manifest(item: &Item) -> PortResult<Manifest> {
    let hour = Hour(number(item, "n")?);
    let mut manifest = Manifest::open(hour);
    manifest.marks = optional_number(item, "marks")?.unwrap_or(0);
    manifest.quarantined = optional_number(item, "quarantined")?.unwrap_or(0);
    // Without it the hour was only marked.
    let Some(revision) = optional_number(item, "revision")? else {
        return Ok(manifest);
    };
    let state = text(item, "st")?;
    manifest.revision = revision;
    manifest.state = STATES
        .into_iter()
        .find(|known| known.as_str() == state)
        .ok_or_else(|| damaged("st"))?;
    manifest.version = number(item, "v")?;
    manifest.adjusted = number(item, "aj")?;
    manifest.rules = number(item, "ru")?;
    manifest.lake = LakeTotals {
        rows: number(item, "lr")?,
        clicks: number(item, "lc")?,
        valid: number(item, "lv")?,
    };
    manifest.last_arrival = Hour(number(item, "la")?);
    manifest.sealed_at_ms = number(item, "at")?;
    manifest.marks_sealed = number(item, "ms")?;
    manifest.rulings = number(item, "rl")?;
    Ok(manifest)
}

fn day_manifest(item: &Item) -> PortResult<DayManifest> {
    Ok(DayManifest {
        day: Day(number(item, "n")?),
        version: optional_number(item, "v")?.unwrap_or(0),
        generation: optional_number(item, "generation")?.unwrap_or(0),
    })
}

fn day_partition(day: Day) -> (String, String) {
    let (year, mmdd) = day_keys(day);
    (format!("days#{year}"), mmdd)
}

impl Hours {
    async fn manifest(&self, hour: Hour) -> PortResult<Manifest> {
        let (pk, sk) = hour_keys(hour);
        match self.table.get(&pk, &sk).await? {
            Some(item) => manifest(&item),
            None => Ok(Manifest::open(hour)),
        }
    }

    /// An answer that is lost marks it once more than needed: it is then looked at once more.
    async fn mark(&self, hour: Hour, expression: &str) -> PortResult<()> {
        let (pk, sk) = hour_keys(hour);
        let update = self
            .table
            .update(&pk, &sk)
            .update_expression(expression)
            .expression_attribute_values(":n", n(hour.0))
            .expression_attribute_values(":one", n(1));
        let marked = match self.table.update_if(update).await? {
            Conditional::Applied(item) | Conditional::Refused(item) => manifest(&item)?,
        };
        if marked.is_provisional() {
            // After the mark: whoever seals the day in between is set aside too. Who dies in between marks it again.
            let (pk, sk) = day_partition(hour.day());
            let reopen = self
                .table
                .update(&pk, &sk)
                .update_expression(REOPEN)
                .expression_attribute_values(":n", n(hour.day().0))
                .expression_attribute_values(":zero", n(0))
                .expression_attribute_values(":one", n(1));
            self.table.update_if(reopen).await?;
        }
        Ok(())
    }

    /// The update of an hour's item, if it still has `new`'s revision.
    fn flip_of(&self, new: &Manifest) -> Result<TransactWriteItem, PortError> {
        let (pk, sk) = hour_keys(new.hour);
        let set = "SET n = :n, st = :st, v = :v, aj = :aj, ru = :ru, lr = :lr, lc = :lc, lv = :lv, la = :la, #at = :at, \
                   revision = :next, ms = :ms, rl = :rl";
        let condition = if new.revision == 0 {
            "attribute_not_exists(revision)"
        } else {
            "revision = :revision"
        };
        let mut update = Update::builder()
            .table_name(&self.table.name)
            .key("pk", s(pk))
            .key("sk", s(sk))
            .update_expression(set)
            .condition_expression(condition)
            .expression_attribute_names("#at", "at");
        if new.revision != 0 {
            update = update.expression_attribute_values(":revision", n(new.revision));
        }
        for (name, value) in [
            (":n", n(new.hour.0)),
            (":st", s(new.state.as_str())),
            (":v", n(new.version)),
            (":aj", n(new.adjusted)),
            (":ru", n(new.rules)),
            (":lr", n(new.lake.rows)),
            (":lc", n(new.lake.clicks)),
            (":lv", n(new.lake.valid)),
            (":la", n(new.last_arrival.0)),
            (":at", n(new.sealed_at_ms)),
            (":next", n(new.revision + 1)),
            (":ms", n(new.marks_sealed)),
            (":rl", n(new.rulings)),
        ] {
            update = update.expression_attribute_values(name, value);
        }
        let update = update.build().map_err(PortError::rejected)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// The update that makes a day unsealed.
    fn reopen_of(&self, day: Day) -> Result<TransactWriteItem, PortError> {
        let (pk, sk) = day_partition(day);
        let update = Update::builder()
            .table_name(&self.table.name)
            .key("pk", s(pk))
            .key("sk", s(sk))
            .update_expression(REOPEN)
            .expression_attribute_values(":n", n(day.0))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":one", n(1));
        let update = update.build().map_err(PortError::rejected)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

#[async_trait]
impl SealStore for Hours {
    async fn mark_dirty(&self, hours: &[Hour]) -> PortResult<()> {
        let mut hours = hours.to_vec();
        hours.sort_unstable();
        hours.dedup();
        for hour in hours {
            self.mark(hour, "SET n = :n ADD marks :one").await?;
        }
        Ok(())
    }

    async fn mark_quarantined(&self, hour: Hour) -> PortResult<()> {
        self.mark(hour, "SET n = :n ADD marks :one, quarantined :one")
            .await
    }

    async fn dirty(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>> {
        let manifests = self.hours(from, to).await?;
        Ok(manifests
            .iter()
            .filter(|manifest| manifest.is_dirty())
            .map(|manifest| manifest.hour)
            .collect())
    }
}

#[async_trait]
impl Manifests for Hours {
    async fn hours(&self, from: Hour, to: Hour) -> PortResult<Vec<Manifest>> {
        let mut found = Vec::new();
        for (first, last) in months(from, to) {
            let ((month, from), (_, to)) = (hour_keys(first), hour_keys(last));
            for item in self.table.range(&month, &from, &to, None).await? {
                found.push(manifest(&item)?);
            }
        }
        Ok(found)
    }

    async fn days(&self, from: Day, to: Day) -> PortResult<Vec<DayManifest>> {
        let mut found = Vec::new();
        for (first, last) in years(from, to) {
            let ((year, from), (_, to)) = (day_partition(first), day_partition(last));
            for item in self.table.range(&year, &from, &to, None).await? {
                found.push(day_manifest(&item)?);
            }
        }
        Ok(found)
    }

    async fn flip(&self, new: &Manifest) -> PortResult<bool> {
        let before = self.manifest(new.hour).await?;
        let flipped = Manifest {
            revision: new.revision + 1,
            marks: before.marks,
            quarantined: before.quarantined,
            ..new.clone()
        };
        if before == flipped {
            // An earlier try of ours.
            return Ok(true);
        }
        if before.revision != new.revision {
            return Ok(false);
        }
        let mut writes = vec![self.flip_of(new)?];
        if before.sets_day_aside(new) {
            writes.push(self.reopen_of(new.hour.day())?);
        }
        let transaction = self
            .table
            .client
            .transact_write_items()
            .set_transact_items(Some(writes));
        let flip = || async {
            match transaction.clone().send().await {
                Ok(_) => Ok(true),
                Err(error) => match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                        let refused = canceled
                            .cancellation_reasons()
                            .iter()
                            .any(|reason| reason.code() == Some("ConditionalCheckFailed"));
                        if refused {
                            Ok(false)
                        } else {
                            // Another transaction was at one of the items: nothing was done.
                            Err(PortError::unavailable(failure::of_sdk(error)))
                        }
                    }
                    _ => Err(failure::of_sdk(error)),
                },
            }
        };
        if self.table.patience.run(flip).await? {
            return Ok(true);
        }
        // Refused by another's flip, or by an earlier try of this one.
        let now = self.manifest(new.hour).await?;
        Ok(now
            == Manifest {
                marks: now.marks,
                quarantined: now.quarantined,
                ..flipped
            })
    }

    async fn flip_day(&self, day: Day, generation: u64, version: u64) -> PortResult<bool> {
        let (pk, sk) = day_partition(day);
        let update = self
            .table
            .update(&pk, &sk)
            .update_expression("SET n = :n, v = :v")
            .condition_expression(if generation == 0 {
                "attribute_not_exists(generation) AND (attribute_not_exists(v) OR v <= :v)"
            } else {
                "generation = :generation AND v <= :v"
            })
            .expression_attribute_values(":n", n(day.0))
            .expression_attribute_values(":v", n(version));
        let update = if generation == 0 {
            update
        } else {
            update.expression_attribute_values(":generation", n(generation))
        };
        Ok(matches!(
            self.table.update_if(update).await?,
            Conditional::Applied(_)
        ))
    }
}
