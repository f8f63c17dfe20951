//! A recount's result: a folder of its own, named by chance, so that no name is ever used for another result.
//!
//! `rows` holds the rows in blocks of [`BLOCK`]; `index` the number of rows and where each block begins. The index is
//! written last and gets its name when it is whole, so that half a result is none. Nothing is synced: after a crash the
//! results are removed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::manifest::LakeTotals;
use clickledger_core::domain::packed::{NotPacked, put, take};
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::{Entropy, Recount, RecountRow};

use super::groups::{Key, REPEATS, RunReader, UNCLAIMED};
use crate::seals;
use crate::system::SystemEntropy;

/// Rows of a block: whoever reads from a row on decodes so many before it, at most.
const BLOCK: u64 = 256;
/// Characters of a name.
const NAME: usize = 32;

/// Where runs are written.
#[derive(Clone)]
pub(super) struct Runs {
    folder: Arc<PathBuf>,
    next: Arc<AtomicU64>,
}

impl Runs {
    /// A new run's file.
    pub(super) fn next(&self) -> PathBuf {
        self.folder
            .join(format!("run-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

/// A result that is being made; removed again unless it is finished.
pub(super) struct Folder {
    name: String,
    runs: Runs,
    finished: bool,
}

impl Folder {
    pub(super) fn new(results: &Path) -> io::Result<Self> {
        let mut random = [0; NAME / 2];
        SystemEntropy.fill(&mut random);
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = results.join(&name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            name,
            runs: Runs {
                folder: Arc::new(folder),
                next: Arc::default(),
            },
            finished: false,
        })
    }

    pub(super) fn runs(&self) -> Runs {
        self.runs.clone()
    }

    /// Merges the runs into rows of this hour.
    pub(super) fn finish(mut self, hour: Hour, paths: Vec<PathBuf>) -> io::Result<Recount> {
        let folder = Arc::clone(&self.runs.folder);
        let mut rows = RowWriter {
            out: BufWriter::new(File::create_new(folder.join("rows"))?),
            at: 0,
            rows: 0,
            blocks: Vec::new(),
            buffer: Vec::new(),
            totals: LakeTotals::default(),
        };
        let mut runs = paths
            .iter()
            .map(RunReader::open)
            .collect::<io::Result<Vec<_>>>()?;
        let mut heads = BinaryHeap::new();
        for (place, run) in runs.iter_mut().enumerate() {
            heads.extend(run.next()?.map(|(key, count)| Reverse((key, count, place))));
        }
        // The counts of one row.
        let mut row: Vec<(Key, u64)> = Vec::new();
        while let Some(Reverse((key, count, place))) = heads.pop() {
            heads.extend(
                runs[place]
                    .next()?
                    .map(|(key, count)| Reverse((key, count, place))),
            );
            match row.last_mut() {
                Some((last, sum)) if *last == key => *sum += count,
                Some((last, _)) if last.row() == key.row() => row.push((key, count)),
                _ => {
                    rows.push(&row)?;
                    row.clear();
                    row.push((key, count));
                }
            }
        }
        rows.push(&row)?;
        let totals = rows.finish(hour, &folder)?;
        for path in paths {
            std::fs::remove_file(path)?;
        }
        self.finished = true;
        Ok(Recount {
            id: self.name.clone(),
            totals,
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is removed when the folder is opened next.
            let _ = std::fs::remove_dir_all(&*self.runs.folder);
        }
    }
}

/// A row: kind, id, a pair's placement (else 0), minute's place, unclaimed clicks, repeats, how many counters, and each of them; all varints.
struct RowWriter {
    out: BufWriter<File>,
    at: u64,
    rows: u64,
    blocks: Vec<u64>,
    buffer: Vec<u8>,
    totals: LakeTotals,
}

impl RowWriter {
    fn push(&mut self, counts: &[(Key, u64)]) -> io::Result<()> {
        let Some((first, _)) = counts.first() else {
            return Ok(());
        };
        let of = |counter| {
            let found = counts.iter().find(|(key, _)| key.counter() == counter);
            found.map_or(0, |(_, count)| *count)
        };
        let (unclaimed, repeats) = (of(UNCLAIMED), of(REPEATS));
        let counters = || counts.iter().filter(|(key, _)| key.counter() < UNCLAIMED);
        let (kind, id, other) = first.entity();
        if self.rows.is_multiple_of(BLOCK) {
            self.blocks.push(self.at);
        }
        self.buffer.clear();
        for number in [
            kind.cast_unsigned(),
            id.cast_unsigned(),
            other.cast_unsigned(),
            first.place().into(),
            unclaimed,
            repeats,
        ] {
            put(&mut self.buffer, number);
        }
        put(&mut self.buffer, counters().count() as u64);
        for (key, count) in counters() {
            put(&mut self.buffer, key.counter().into());
            put(&mut self.buffer, *count);
        }
        if seals::entity(kind, id, other) == Some(Entity::Total) {
            let clicks = unclaimed + counters().map(|(_, count)| count).sum::<u64>();
            self.totals.clicks += clicks;
            self.totals.rows += clicks + repeats;
        }
        self.out.write_all(&self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self, hour: Hour, folder: &Path) -> io::Result<LakeTotals> {
        self.out.flush()?;
        let mut index = Vec::with_capacity(self.blocks.len() * 8 + 24);
        let numbers = [hour.0.cast_unsigned(), self.rows].into_iter();
        for number in numbers.chain(self.blocks).chain([self.at]) {
            index.extend_from_slice(&number.to_le_bytes());
        }
        let unnamed = folder.join("index.unfinished");
        std::fs::write(&unnamed, index)?;
        std::fs::rename(unnamed, folder.join("index"))?;
        Ok(self.totals)
    }
}

/// Only a name that [`Folder::new`] gives may become a path.
fn folder(results: &Path, id: &str) -> Option<PathBuf> {
    let ours = id.len() == NAME && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ours.then(|| results.join(id))
}

/// Whether there is such a file.
fn known<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Rows from the `from`th on; `None` where there is no such result.
pub(super) fn rows(results: &Path, id: &str, from: u64, limit: usize) -> io::Result<Option<Vec<RecountRow>>> {
    let Some(folder) = folder(results, id) else {
        return Ok(None);
    };
    let Some(mut index) = known(File::open(folder.join("index")))? else {
        return Ok(None);
    };
    // Opened before anything is read: who forgets the result now takes nothing away from us.
    let Some(mut file) = known(File::open(folder.join("rows")))? else {
        return Ok(None);
    };
    let [hour, count] = numbers(&mut index, 0, 2)?[..] else {
        return Err(damaged());
    };
    let to = from.saturating_add(limit as u64).min(count);
    if from >= to {
        return Ok(Some(Vec::new()));
    }
    let (first, last) = (from / BLOCK, (to - 1) / BLOCK);
    let blocks = numbers(&mut index, 2 + first, last - first + 2)?;
    let (Some(begin), Some(end)) = (blocks.first(), blocks.last()) else {
        return Err(damaged());
    };
    file.seek(SeekFrom::Start(*begin))?;
    let mut bytes = Vec::new();
    file.take(end - begin).read_to_end(&mut bytes)?;
    let (mut rest, mut found) = (bytes.as_slice(), Vec::with_capacity((to - from) as usize));
    for place in first * BLOCK..to {
        let row = take_row(&mut rest, Hour(hour.cast_signed())).map_err(|_| damaged())?;
        if place >= from {
            found.push(row);
        }
    }
    Ok(Some(found))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a recount's result cannot be read")
}

/// `count` of the index's numbers.
fn numbers(index: &mut File, from: u64, count: u64) -> io::Result<Vec<u64>> {
    index.seek(SeekFrom::Start(from * 8))?;
    let mut bytes = vec![0; usize::try_from(count * 8).map_err(io::Error::other)?];
    index.read_exact(&mut bytes)?;
    Ok(bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|number| u64::from_le_bytes(*number))
        .collect())
}

fn take_row(bytes: &mut &[u8], hour: Hour) -> Result<RecountRow, NotPacked> {
    let mut number = || take(bytes);
    let [kind, id, other] = [number()?, number()?, number()?].map(u64::cast_signed);
    let (place, unclaimed, repeats) = (number()?, number()?, number()?);
    let mut counters = Counters::default();
    for _ in 0..number()? {
        let key = u16::try_from(number()?).ok().and_then(CounterKey::from_u16);
        counters.add(key.ok_or(NotPacked)?, number()?);
    }
    let clicks = counters.gross() + unclaimed;
    Ok(RecountRow {
        entity: seals::entity(kind, id, other).ok_or(NotPacked)?,
        minute: Minute(hour.first_minute().0 + place.cast_signed()),
        counters,
        clicks,
        rows: clicks + repeats,
    })
}

/// Removes a result.
pub(super) fn forget(results: &Path, id: &str) -> io::Result<()> {
    if let Some(folder) = folder(results, id) {
        // Its index first: from then on it is none.
        known(std::fs::remove_file(folder.join("index")))?;
        known(std::fs::remove_dir_all(folder))?;
    }
    Ok(())
}
