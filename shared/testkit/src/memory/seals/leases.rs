//! Leases: a holder, a time, a fence, a note.

use async_trait::async_trait;
use clickledger_core::ports::{Job, Lease, Leases, PortResult};

use super::MemorySeals;

/// A job that was held at least once.
#[derive(Debug, Default)]
pub(super) struct StoredLease {
    /// `None`: given back.
    holder: Option<String>,
    fence: u64,
    until_ms: i64,
    note: Option<String>,
}

impl StoredLease {
    fn is_held_by(&self, lease: &Lease) -> bool {
        self.fence == lease.fence && self.holder.as_ref() == Some(&lease.holder)
    }
}

#[async_trait]
impl Leases for MemorySeals {
    async fn take(&self, job: Job, holder: &str, now_ms: i64, until_ms: i64) -> PortResult<Option<Lease>> {
        let mut state = self.state.lock();
        let stored = state.leases.entry(job).or_default();
        let ours = stored.holder.as_deref() == Some(holder);
        if !ours {
            if stored.holder.is_some() && now_ms < stored.until_ms {
                return Ok(None);
            }
            stored.holder = Some(holder.to_owned());
            stored.fence += 1;
        }
        stored.until_ms = until_ms;
        Ok(Some(Lease {
            job,
            holder: holder.to_owned(),
            fence: stored.fence,
            note: stored.note.clone(),
        }))
    }

    async fn keep(&self, lease: &Lease, until_ms: i64, note: Option<&str>) -> PortResult<bool> {
        let mut state = self.state.lock();
        let Some(stored) = state.leases.get_mut(&lease.job) else {
            return Ok(false);
        };
        let ours = stored.is_held_by(lease);
        if ours {
            stored.until_ms = until_ms;
            if let Some(note) = note {
                stored.note = Some(note.to_owned());
            }
        }
        Ok(ours)
    }

    async fn release(&self, lease: &Lease, note: Option<&str>) -> PortResult<()> {
        let mut state = self.state.lock();
        let stored = state.leases.get_mut(&lease.job);
        if let Some(stored) = stored.filter(|stored| stored.is_held_by(lease)) {
            stored.holder = None;
            stored.note = note.map(str::to_owned);
        }
        Ok(())
    }

    async fn note(&self, job: Job) -> PortResult<Option<String>> {
        let state = self.state.lock();
        Ok(state.leases.get(&job).and_then(|stored| stored.note.clone()))
    }
}
