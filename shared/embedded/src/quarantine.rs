//! Quarantine: `quarantine/dt=YYYY-MM-DD.ndjson`, by the day of arrival, one JSON object a line.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortError, PortResult, Quarantine, Quarantined};
use serde::Serialize;

use crate::lines;

/// The embedded [`Quarantine`].
#[derive(Clone)]
pub struct QuarantineFiles {
    folder: Arc<PathBuf>,
    /// One line at a time: a file is opened, ended where it was torn, and appended to.
    appending: Arc<Mutex<()>>,
}

impl QuarantineFiles {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder: Arc::new(folder),
            appending: Arc::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

#[derive(Serialize)]
struct Line<'a> {
    shard: &'a str,
    sequence_number: String,
    arrived_at_ms: i64,
    reason: &'a str,
    bytes_base64: String,
}

#[async_trait]
impl Quarantine for QuarantineFiles {
    async fn keep(&self, item: Quarantined) -> PortResult<()> {
        let mut line = serde_json::to_vec(&Line {
            shard: &item.shard,
            sequence_number: item.sequence_number.to_string(),
            arrived_at_ms: item.arrived_at_ms,
            reason: &item.reason,
            bytes_base64: STANDARD.encode(&item.bytes),
        })
        .map_err(PortError::rejected)?;
        line.push(b'\n');
        let (day, _) = lines::partition(Hour::of(item.arrived_at_ms));
        let path = self.folder.join(format!("{day}.ndjson"));
        let appending = Arc::clone(&self.appending);
        let task = tokio::task::spawn_blocking(move || {
            let _one = appending.lock().unwrap_or_else(PoisonError::into_inner);
            lines::append(&mut lines::open(&path)?, &line)
        });
        task.await
            .map_err(PortError::ambiguous)?
            .map_err(PortError::ambiguous)
    }
}
