//! Opening a data folder: its lock, its schema's version, its shards.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clickledger_core::ports::{Clock, PortError};
use rusqlite::{Connection, TransactionBehavior};

use crate::gate::CommitGate;
use crate::hot::Hot;
use crate::partials::Partials;
use crate::schema;
use crate::sweep::Pace;
use crate::system::SystemClock;

/// How a data folder is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// How many shards the stream has, 1 to [`OpenOptions::MAX_SHARDS`], or [`OpenOptions::SAME_SHARDS`]. Another number than
    /// before is a reshard: the old shards are closed, and are the new ones' parents.
    pub shards: u32,
    /// How many writes may wait for the writer thread; one more is refused at once.
    pub queue: usize,
    /// What says when records arrive.
    pub clock: Arc<dyn Clock>,
    /// Lets tests hold or refuse commits.
    pub gate: CommitGate,
}

impl OpenOptions {
    /// Most shards.
    pub const MAX_SHARDS: u32 = 1024;
    /// As many shards as before; one, in a new folder.
    pub const SAME_SHARDS: u32 = u32::MAX;
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            shards: 2,
            queue: 20_000,
            clock: Arc::new(SystemClock),
            gate: CommitGate::default(),
        }
    }
}

/// Why a data folder can't be opened. The messages are for people.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder can't be made, read or written.
    #[error("the data folder {} can't be used", .dir.display())]
    Folder {
        /// Which folder.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error(
        "the data folder {} is in use by another clickledger process: stop that one, or choose another folder",
        .dir.display()
    )]
    InUse {
        /// Which folder.
        dir: PathBuf,
    },
    /// It was written by another schema version.
    #[error(
        "the data folder {} has schema version {found}, but this program reads version {expected}: use the clickledger \
         release that wrote the folder, or choose another (or a new) folder",
        .dir.display()
    )]
    OtherSchema {
        /// Which folder.
        dir: PathBuf,
        /// The version in the folder.
        found: i64,
        /// The version of this program.
        expected: u32,
    },
    /// Its database is something else's.
    #[error("{} in {} was not made by clickledger: choose another folder", schema::FILE, .dir.display())]
    NotOurs {
        /// Which folder.
        dir: PathBuf,
    },
    /// Not a possible number of shards.
    #[error(
        "the number of shards must be from 1 to {}, not {asked}",
        OpenOptions::MAX_SHARDS
    )]
    Shards {
        /// What was asked for.
        asked: u32,
    },
    /// What it holds can't be read.
    #[error("the data folder {} can't be opened", .dir.display())]
    Damaged {
        /// Which folder.
        dir: PathBuf,
        /// What is damaged.
        source: PortError,
    },
    /// The database refuses.
    #[error("the database in the data folder can't be opened")]
    Database(#[from] rusqlite::Error),
}

/// The folder's lock: held as long as this lives.
pub(crate) struct FolderLock(File);

impl FolderLock {
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let folder = |source| OpenError::Folder {
            dir: dir.to_owned(),
            source,
        };
        private_folder(dir).map_err(folder)?;
        let lock = dir.join("clickledger.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock)
            .map_err(folder)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(folder(source)),
        }
    }
}

/// Makes the folder where it is not there yet, for its owner alone: it holds the secrets that tokens are signed with.
fn private_folder(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file unlocks it too.
        let _ = self.0.unlock();
    }
}

/// What the stream looks like after opening.
pub(crate) struct StreamState {
    /// The open shards' numbers, by hash-key range.
    pub(crate) open: Vec<i64>,
    /// The next sequence number.
    pub(crate) next: i64,
    /// The partials that are being written.
    pub(crate) partials: Partials,
}

/// Opens the database and brings its stream to this many shards.
pub(crate) fn database(
    dir: &Path,
    options: &OpenOptions,
    hot: Hot,
) -> Result<(Connection, StreamState), OpenError> {
    let possible = (1..=OpenOptions::MAX_SHARDS).contains(&options.shards);
    if !possible && options.shards != OpenOptions::SAME_SHARDS {
        return Err(OpenError::Shards {
            asked: options.shards,
        });
    }
    let mut conn = schema::connect(&dir.join(schema::FILE), &schema::WRITER)?;
    schema::prepare(&mut conn, dir)?;
    let open = reshard(&mut conn, options)?;
    // What was ever given out counts, also where its records are gone: watermarks remember it.
    let next = 1 + conn.query_row(
        "SELECT max(coalesce((SELECT max(last) FROM stream), 0), coalesce((SELECT max(done) FROM positions), 0),
                    coalesce((SELECT value FROM meta WHERE key = 'trimmed_to'), 0))",
        [],
        |row| row.get::<_, i64>(0),
    )?;
    let partials = Partials::load(&conn, hot, Pace::default()).map_err(|failure| failure.on_opening(dir))?;
    Ok((conn, StreamState { open, next, partials }))
}

fn reshard(conn: &mut Connection, options: &OpenOptions) -> rusqlite::Result<Vec<i64>> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let numbers = |sql: &str| -> rusqlite::Result<Vec<i64>> {
        tx.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    let old = numbers("SELECT shard FROM shards WHERE place IS NOT NULL ORDER BY place")?;
    let wanted = match options.shards {
        OpenOptions::SAME_SHARDS => (old.len() as i64).max(1),
        shards => shards.into(),
    };
    if old.len() as i64 == wanted {
        return Ok(old);
    }
    tx.execute(
        "UPDATE shards SET place = NULL, closed_ms = ?1 WHERE place IS NOT NULL",
        [options.clock.now_ms()],
    )?;
    // A forgotten shard's number is not used again: its lane log and its partials may still be there.
    let first = schema::meta(&tx, "next_shard")?.unwrap_or(0);
    let open: Vec<i64> = (first..first + wanted).collect();
    for (place, shard) in open.iter().enumerate() {
        tx.execute(
            "INSERT INTO shards(shard, place) VALUES (?1, ?2)",
            (shard, place as i64),
        )?;
        for parent in &old {
            tx.execute(
                "INSERT INTO shard_parents(shard, parent) VALUES (?1, ?2)",
                (shard, parent),
            )?;
        }
    }
    schema::put_meta(&tx, "next_shard", first + wanted)?;
    schema::put_meta(&tx, "shards", wanted)?;
    tx.commit()?;
    Ok(open)
}
