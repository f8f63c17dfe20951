//! Leases: who works a job now, and how far it has come.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortResult;
use crate::domain::time::{Day, Hour};

/// What is worked by one run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Job {
    /// Sealing an hour.
    Hour(Hour),
    /// Sealing a day.
    Day(Day),
    /// The daily run.
    Daily,
}

/// A job that is ours, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which job.
    pub job: Job,
    /// Who holds it: a name that no other run has.
    pub holder: String,
    /// Rises whenever the job changes hands, over the whole life of the store: versions are made of it.
    pub fence: u64,
    /// What the holder before left for its successor.
    pub note: Option<String>,
}

/// Fenced leases. A lease only saves work; what it guards is guarded by fences and conditional writes, so that a run that
/// has lost it without knowing does no harm.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the job if nobody holds it, or its time is over at `now_ms`; `None` if another holder has it. Taking it again
    /// as the same holder answers the same lease, also after its time, if nobody has taken it since.
    async fn take(&self, job: Job, holder: &str, now_ms: i64, until_ms: i64) -> PortResult<Option<Lease>>;
    /// Holds it on, and leaves this note (`None`: whatever note there is stays); `false` if it is ours no more.
    async fn keep(&self, lease: &Lease, until_ms: i64, note: Option<&str>) -> PortResult<bool>;
    /// Gives it back with this note (`None`: with none). Nothing happens if it is ours no more.
    async fn release(&self, lease: &Lease, note: Option<&str>) -> PortResult<()>;
    /// What the last holder left, whoever holds it now.
    async fn note(&self, job: Job) -> PortResult<Option<String>>;
}
