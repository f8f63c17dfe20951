//! The raw lake: `lake/dt=YYYY-MM-DD/hr=HH/<shard>.ndjson`, by the hour of arrival of an append's oldest record.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{PortError, PortResult, RawLake, StreamRecord};

use crate::lines;
use crate::shards::ShardNumber;

/// The embedded [`RawLake`]. A shard has one file open, that of its latest hour.
#[derive(Clone)]
pub struct Lake {
    folder: Arc<PathBuf>,
    files: Arc<Mutex<Vec<Open>>>,
}

struct Open {
    shard: ShardId,
    hour: Hour,
    file: File,
}

impl Lake {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder: Arc::new(folder),
            files: Arc::default(),
        }
    }

    fn write(&self, shard: &ShardId, hour: Hour, bytes: &[u8]) -> io::Result<()> {
        let known = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            files
                .iter()
                .position(|open| open.shard == *shard)
                .map(|place| files.swap_remove(place))
        };
        let mut open = match known {
            Some(open) if open.hour == hour => open,
            _ => Open {
                shard: Arc::clone(shard),
                hour,
                file: lines::open(&path(&self.folder, shard, hour))?,
            },
        };
        // A file that an append failed on is dropped: opening it anew ends whatever line was torn.
        lines::append(&mut open.file, bytes)?;
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(open);
        Ok(())
    }
}

fn path(folder: &Path, shard: &ShardId, hour: Hour) -> PathBuf {
    let (day, hour) = lines::partition(hour);
    folder.join(day).join(hour).join(format!("{shard}.ndjson"))
}

#[async_trait]
impl RawLake for Lake {
    async fn append(&self, shard: &ShardId, records: &[StreamRecord]) -> PortResult<()> {
        // The name becomes a path: only a shard's own form may.
        ShardNumber::of(shard)?;
        let Some(oldest) = records.iter().map(|record| record.arrived_at_ms).min() else {
            return Ok(());
        };
        let mut bytes = Vec::with_capacity(records.iter().map(|record| record.data.len() + 1).sum());
        for record in records {
            bytes.extend_from_slice(&record.data);
            if record.data.last() != Some(&b'\n') {
                bytes.push(b'\n');
            }
        }
        let (lake, shard) = (self.clone(), Arc::clone(shard));
        let task = tokio::task::spawn_blocking(move || lake.write(&shard, Hour::of(oldest), &bytes));
        // An append that failed may have left some lines: the records may come twice, as the port allows.
        task.await
            .map_err(PortError::ambiguous)?
            .map_err(PortError::ambiguous)
    }
}
