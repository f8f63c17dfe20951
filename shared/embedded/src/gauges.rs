//! What waits in the spill and lies in quarantine.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::time::Day;
use clickledger_core::ports::{Backlog, Gauges, PortError, PortResult};
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;

use crate::lines;
use crate::store::Store;

/// The embedded [`Gauges`].
#[derive(Clone)]
pub struct FolderGauges {
    store: Arc<Store>,
    quarantine: Arc<PathBuf>,
}

impl FolderGauges {
    pub(crate) fn new(store: Arc<Store>, quarantine: PathBuf) -> Self {
        Self {
            store,
            quarantine: Arc::new(quarantine),
        }
    }
}

#[derive(Deserialize)]
struct Clicked {
    clicked_at_ms: i64,
}

#[derive(Deserialize)]
struct Arrived {
    arrived_at_ms: i64,
}

/// The oldest record, by its number: the first row.
const OLDEST: &str = "SELECT data FROM spill ORDER BY id LIMIT 1";

#[async_trait]
impl Gauges for FolderGauges {
    async fn spill(&self) -> PortResult<Backlog> {
        let query = |conn: &Connection| {
            let waiting: i64 = conn
                .prepare_cached("SELECT count(*) FROM spill")?
                .query_row([], |row| row.get(0))?;
            let oldest: Option<Vec<u8>> = conn
                .prepare_cached(OLDEST)?
                .query_row([], |row| row.get(0))
                .optional()?;
            let click = oldest.and_then(|data| serde_json::from_slice::<Clicked>(&data).ok());
            Ok(Backlog {
                waiting: waiting.unsigned_abs(),
                oldest_ms: click.map(|click| click.clicked_at_ms),
            })
        };
        self.store.readers.read(query).await
    }

    /// By the time of arrival.
    async fn quarantined(&self, from_ms: i64, to_ms: i64, most: u64) -> PortResult<u64> {
        let folder = Arc::clone(&self.quarantine);
        let count = move || -> io::Result<u64> {
            let mut found = 0;
            for day in Day::of(from_ms).0..=Day::of(to_ms).0 {
                let (name, _) = lines::partition(Day(day).first_hour());
                let file = match File::open(folder.join(format!("{name}.ndjson"))) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                for line in BufReader::new(file).split(b'\n') {
                    // A torn line was not kept.
                    let arrived = serde_json::from_slice::<Arrived>(&line?).ok();
                    if arrived.is_some_and(|line| (from_ms..=to_ms).contains(&line.arrived_at_ms)) {
                        found += 1;
                        if found >= most {
                            return Ok(found);
                        }
                    }
                }
            }
            Ok(found)
        };
        tokio::task::spawn_blocking(count)
            .await
            .map_err(PortError::unavailable)?
            .map_err(PortError::unavailable)
    }
}
