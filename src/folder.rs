//! A data folder that is worked on without a server.
//!
//! Invariant: the folder's lock is held while it is open here, so that no server works on it at the same time.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use clickledger_core::domain::correction::HourReport;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::SealReports;
use clickledger_core::service::reconcile::Restatement;
use clickledger_embedded::{Embedded, OpenOptions, SystemClock};
use tokio::runtime::Runtime;

use crate::sealing;

/// The open folder.
pub(crate) struct Folder {
    runtime: Runtime,
    store: Option<Embedded>,
}

impl Folder {
    /// Opens a folder that there is.
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let name = data.display();
        anyhow::ensure!(data.join("clickledger.db").is_file(), "{name} is no data folder");
        let runtime = Runtime::new().context("starting the runtime")?;
        let options = OpenOptions {
            shards: OpenOptions::SAME_SHARDS,
            ..OpenOptions::default()
        };
        let store = runtime
            .block_on(async { Embedded::open(data, options) })
            .with_context(|| {
                format!(
                    "opening {name} (a server that has it open must be stopped first, or asked with --target)"
                )
            })?;
        Ok(Self {
            runtime,
            store: Some(store),
        })
    }

    /// The reports of the hours in `from..to`, at most `limit`.
    pub(crate) fn reports(&self, from: Hour, to: Hour, limit: usize) -> Result<Vec<HourReport>> {
        let reports = self.store()?.seals();
        Ok(self.runtime.block_on(reports.reports(from, to, None, limit))?)
    }

    /// Recounts, and answers the report of each hour.
    pub(crate) fn restate(&self, order: &Restatement) -> Result<Vec<HourReport>> {
        let reconcile = sealing::reconcile(self.store()?, Arc::new(SystemClock));
        Ok(self.runtime.block_on(reconcile.restate(order))?)
    }

    fn store(&self) -> Result<&Embedded> {
        self.store.as_ref().context("the folder is closed")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            self.runtime.block_on(store.close());
        }
    }
}
