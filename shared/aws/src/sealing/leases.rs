//! Leases: one item for each job, which is never deleted, so that its fence only rises.

use async_trait::async_trait;
use clickledger_core::ports::{Job, Lease, Leases, PortResult};

use super::Hours;
use super::table::{Conditional, fixed};
use crate::dynamodb::item::{Item, n, number, optional_text, s};

const SK: &str = "lease";

fn partition(job: Job) -> String {
    match job {
        Job::Hour(hour) => format!("job#hour#{}", fixed(hour.0)),
        Job::Day(day) => format!("job#day#{}", fixed(day.0)),
        Job::Daily => "job#daily".to_owned(),
    }
}

fn lease(job: Job, holder: &str, item: &Item) -> PortResult<Lease> {
    Ok(Lease {
        job,
        holder: holder.to_owned(),
        fence: number(item, "fence")?,
        note: optional_text(item, "note")?.map(str::to_owned),
    })
}

#[async_trait]
impl Leases for Hours {
    async fn take(&self, job: Job, holder: &str, now_ms: i64, until_ms: i64) -> PortResult<Option<Lease>> {
        let update = self
            .table
            .update(&partition(job), SK)
            .update_expression("SET holder = :holder, until_ms = :until ADD fence :one")
            .condition_expression("attribute_not_exists(holder) OR (holder <> :holder AND until_ms <= :now)")
            .expression_attribute_values(":holder", s(holder))
            .expression_attribute_values(":until", n(until_ms))
            .expression_attribute_values(":now", n(now_ms))
            .expression_attribute_values(":one", n(1));
        match self.table.update_if(update).await? {
            Conditional::Applied(item) => lease(job, holder, &item).map(Some),
            // Ours already: an earlier try, whose answer was lost, or we hold it on.
            Conditional::Refused(item) if optional_text(&item, "holder")? == Some(holder) => {
                let ours = lease(job, holder, &item)?;
                Ok(self.keep(&ours, until_ms, None).await?.then_some(ours))
            }
            Conditional::Refused(_) => Ok(None),
        }
    }

    async fn keep(&self, lease: &Lease, until_ms: i64, note: Option<&str>) -> PortResult<bool> {
        let set = if note.is_some() {
            "SET until_ms = :until, note = :note"
        } else {
            "SET until_ms = :until"
        };
        let mut update = self
            .table
            .update(&partition(lease.job), SK)
            .update_expression(set)
            .condition_expression("fence = :fence AND holder = :holder")
            .expression_attribute_values(":fence", n(lease.fence))
            .expression_attribute_values(":holder", s(&*lease.holder))
            .expression_attribute_values(":until", n(until_ms));
        if let Some(note) = note {
            update = update.expression_attribute_values(":note", s(note));
        }
        Ok(matches!(
            self.table.update_if(update).await?,
            Conditional::Applied(_)
        ))
    }

    async fn release(&self, lease: &Lease, note: Option<&str>) -> PortResult<()> {
        let change = if note.is_some() {
            "SET note = :note REMOVE holder, until_ms"
        } else {
            "REMOVE holder, until_ms, note"
        };
        let mut update = self
            .table
            .update(&partition(lease.job), SK)
            .update_expression(change)
            .condition_expression("fence = :fence AND holder = :holder")
            .expression_attribute_values(":fence", n(lease.fence))
            .expression_attribute_values(":holder", s(&*lease.holder));
        if let Some(note) = note {
            update = update.expression_attribute_values(":note", s(note));
        }
        self.table.update_if(update).await.map(drop)
    }

    async fn note(&self, job: Job) -> PortResult<Option<String>> {
        match self.table.get(&partition(job), SK).await? {
            Some(item) => Ok(optional_text(&item, "note")?.map(str::to_owned)),
            None => Ok(None),
        }
    }
}
