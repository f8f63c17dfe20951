//! The open data folder: its threads, and its handles.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use tokio::sync::watch;

use crate::checkpoint::{self, Signals};
use crate::hot::Hot;
use crate::open::{self, FolderLock, OpenError, OpenOptions};
use crate::queue::Queue;
use crate::readers::Readers;
use crate::writer::Writer;
use crate::{
    Buckets, Catalog, Claims, CommitGate, FolderGauges, Keys, Lake, LakeFolder, Lanes, QuarantineFiles,
    Seals, SpillTable, Stream, TokenKeySafe, schema,
};

/// An open data folder. Cloning is cheap; the folder is closed by [`Embedded::close`], or when the last handle is dropped.
#[derive(Clone)]
pub struct Embedded {
    store: Arc<Store>,
    catalog: Catalog,
    claims: Claims,
    lake: Lake,
    lake_reader: LakeFolder,
    quarantine: QuarantineFiles,
}

/// What all handles share.
pub(crate) struct Store {
    pub(crate) queue: Arc<Queue>,
    pub(crate) readers: Readers,
    pub(crate) open_shards: usize,
    pub(crate) hot: Hot,
    /// Whether writes of partials should wait until memory has room for them.
    pub(crate) full: watch::Receiver<bool>,
    gate: CommitGate,
    published: watch::Receiver<u64>,
    signals: Signals,
    running: Mutex<Option<Running>>,
}

struct Running {
    threads: [JoinHandle<()>; 2],
    lock: FolderLock,
}

impl Embedded {
    /// Opens a data folder, and makes what is not there yet.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(dir: impl AsRef<Path>, options: OpenOptions) -> Result<Self, OpenError> {
        let dir = dir.as_ref().to_owned();
        let lock = FolderLock::take(&dir)?;
        let hot = Hot::default();
        let (conn, stream) = open::database(&dir, &options, hot.clone())?;
        let database = dir.join(schema::FILE);
        let (publish, published) = watch::channel(stream.next.cast_unsigned() - 1);
        let (queue, signals) = (Arc::new(Queue::new(options.queue)), Signals::default());
        let (open_shards, full) = (stream.open.len(), stream.partials.full());
        let writer = Writer {
            queue: Arc::clone(&queue),
            gate: options.gate.clone(),
            clock: options.clock,
            open: stream.open,
            next: stream.next,
            partials: stream.partials,
            published: publish,
            restart_log: Arc::clone(&signals.restart_log),
        };
        let folder = |source| OpenError::Folder {
            dir: dir.clone(),
            source,
        };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = Builder::new().name(name.to_owned()).spawn(work);
            thread.map_err(folder)
        };
        let (copied, shared) = (database.clone(), signals.clone());
        let threads = [
            spawn("writer", Box::new(move || writer.run(&conn)))?,
            spawn(
                "checkpoint",
                Box::new(move || checkpoint::run(&copied, &shared.stop, &shared.restart_log)),
            )?,
        ];
        let store = Arc::new(Store {
            queue,
            readers: Readers::new(database),
            open_shards,
            hot,
            full,
            gate: options.gate,
            published,
            signals,
            running: Mutex::new(Some(Running { threads, lock })),
        });
        let (catalog, claims) = (Catalog::new(Arc::clone(&store)), Claims::new(Arc::clone(&store)));
        let lake = Lake::new(dir.join("lake"));
        let lake_reader = LakeFolder::open(dir.join("lake"), dir.join("recounts")).map_err(folder)?;
        let quarantine = QuarantineFiles::new(dir.join("quarantine"));
        Ok(Self {
            store,
            catalog,
            claims,
            lake,
            lake_reader,
            quarantine,
        })
    }

    /// Finishes what is queued, closes the files and unlocks the folder. Handles that are left answer `Unavailable`.
    pub async fn close(self) {
        let store = Arc::clone(&self.store);
        drop(self);
        if let Err(error) = tokio::task::spawn_blocking(move || store.shut()).await {
            tracing::warn!(%error, "the data folder was not closed cleanly");
        }
    }

    /// The last sequence number that was committed, as it changes: a pump need not poll.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.store.published.clone()
    }

    /// `ClaimStore`.
    pub fn claims(&self) -> Claims {
        self.claims.clone()
    }

    /// `ClickStream` and `ShardReader`.
    pub fn stream(&self) -> Stream {
        Stream::new(Arc::clone(&self.store))
    }

    /// `BucketStore`.
    pub fn buckets(&self) -> Buckets {
        Buckets::new(Arc::clone(&self.store))
    }

    /// `LaneLog`.
    pub fn lanes(&self) -> Lanes {
        Lanes::new(Arc::clone(&self.store))
    }

    /// `AdCatalog`; all handles share one cache.
    pub fn catalog(&self) -> Catalog {
        self.catalog.clone()
    }

    /// `ApiKeys`.
    pub fn keys(&self) -> Keys {
        Keys::new(Arc::clone(&self.store))
    }

    /// `TokenKeys`.
    pub fn token_keys(&self) -> TokenKeySafe {
        TokenKeySafe::new(Arc::clone(&self.store))
    }

    /// `SealStore`, `Manifests`, `Leases`, `SealedCounts`, `Rulings` and `SealReports`.
    pub fn seals(&self) -> Seals {
        Seals::new(Arc::clone(&self.store))
    }

    /// `Spill`.
    pub fn spill(&self) -> SpillTable {
        SpillTable::new(Arc::clone(&self.store))
    }

    /// `Quarantine`.
    pub fn quarantine(&self) -> QuarantineFiles {
        self.quarantine.clone()
    }

    /// `Gauges`.
    pub fn gauges(&self) -> FolderGauges {
        FolderGauges::new(Arc::clone(&self.store), self.quarantine.folder().to_owned())
    }

    /// `RawLake`; all handles share the open files.
    pub fn lake(&self) -> Lake {
        self.lake.clone()
    }

    /// `LakeReader`; all handles share what was listed last.
    pub fn lake_reader(&self) -> LakeFolder {
        self.lake_reader.clone()
    }
}

impl Store {
    /// Ends the threads, then unlocks the folder. A second call does nothing.
    fn shut(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { threads, lock }) = running else {
            return;
        };
        // A gate that is held would keep the writer for ever.
        self.gate.open();
        self.readers.close();
        self.signals.stop.set();
        self.queue.close();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the data folder ended in a panic");
            }
        }
        drop(lock);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shut();
    }
}

#[cfg(test)]
mod tests;
