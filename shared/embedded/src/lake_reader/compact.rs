//! Compaction: an arrival partition's lines as one Parquet file, several times smaller and a table for queries.
//!
//! Invariant: the lines' files go only once the Parquet file is durable, has its name, and was read back: the same lines,
//! byte for byte, in the same order. A crash in between leaves both: repeats, by which a recount is not changed, and which the
//! next compaction of the partition removes.

use std::fs::File;
use std::io;
use std::path::Path;

use clickledger_core::domain::time::Hour;
use clickledger_core::ports::Entropy;
use md5::{Digest, Md5};

use super::columns::ColumnWriter;
use super::files::{self, Form, LakeFile};
use crate::lines::sync_folder;
use crate::system::SystemEntropy;

/// What lines add up to, in their order.
#[derive(Default)]
struct Sum {
    lines: u64,
    digest: Md5,
}

impl Sum {
    fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        self.digest.update((line.len() as u64).to_le_bytes());
        self.digest.update(line);
    }

    fn finish(self) -> (u64, Vec<u8>) {
        (self.lines, self.digest.finalize().to_vec())
    }
}

/// How a file is named while it is written.
const UNFINISHED: &str = ".parquet.unfinished";

/// The partitions before this one that hold lines, in order.
pub(super) fn uncompacted(lake: &Path, before: Hour) -> io::Result<Vec<Hour>> {
    let mut files = files::list(lake, &(Hour(0)..before))?;
    files.retain(|file| file.form != Form::Parquet);
    let mut partitions: Vec<Hour> = files.into_iter().map(|file| file.arrival).collect();
    partitions.dedup();
    Ok(partitions)
}

/// What an earlier process was writing when it ended.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_str().is_some_and(|path| path.ends_with(UNFINISHED)) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The lines of a file in order, added up.
fn sum_of(file: &LakeFile, sum: &mut Sum) -> io::Result<()> {
    files::lines(file, |line| sum.add(line)).map(drop)
}

/// Whether some compacted file holds what these sources hold: then a process ended before it removed them.
fn is_compacted(sources: &[LakeFile], compacted: &[LakeFile]) -> io::Result<bool> {
    if compacted.is_empty() {
        return Ok(false);
    }
    let mut wanted = Sum::default();
    for source in sources {
        sum_of(source, &mut wanted)?;
    }
    let wanted = wanted.finish();
    for file in compacted {
        let mut found = Sum::default();
        sum_of(file, &mut found)?;
        if found.finish() == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Compacts a partition; says how many lines were moved.
pub(super) fn compact(lake: &Path, arrival: Hour) -> io::Result<u64> {
    let files = files::list(lake, &(arrival..Hour(arrival.0 + 1)))?;
    let (compacted, mut sources): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.form == Form::Parquet);
    let Some(folder) = sources.first().and_then(|file| file.path.parent()) else {
        return Ok(0);
    };
    let folder = folder.to_owned();
    remove_unfinished(&folder)?;
    if is_compacted(&sources, &compacted)? {
        remove(&folder, &sources)?;
        return Ok(0);
    }
    let mut random = [0; 8];
    SystemEntropy.fill(&mut random);
    let name = format!("clicks-{:016x}", u64::from_le_bytes(random));
    let unfinished = folder.join(format!("{name}{UNFINISHED}"));
    let moved = write(&unfinished, &mut sources);
    let moved = match moved {
        Ok(moved) if moved > 0 => moved,
        nothing => {
            std::fs::remove_file(&unfinished)?;
            return nothing;
        }
    };
    std::fs::rename(&unfinished, folder.join(format!("{name}.parquet")))?;
    sync_folder(&folder)?;
    remove(&folder, &sources)?;
    Ok(moved)
}

fn remove(folder: &Path, sources: &[LakeFile]) -> io::Result<()> {
    for source in sources {
        std::fs::remove_file(&source.path)?;
    }
    sync_folder(folder)
}

/// Writes the lines of all sources, and reads them back. A source that does not end with a line's end stays out.
fn write(path: &Path, sources: &mut Vec<LakeFile>) -> io::Result<u64> {
    let mut whole = Vec::new();
    for source in sources.drain(..) {
        let length = std::fs::metadata(&source.path)?.len();
        if files::lines(&source, |_| {})? == length {
            whole.push((source, length));
        }
    }
    let (mut writer, mut sum) = (ColumnWriter::new(File::create_new(path)?)?, Sum::default());
    for (source, length) in &whole {
        let mut failed = None;
        let read = files::lines(source, |line| {
            sum.add(line);
            if failed.is_none() {
                failed = writer.push(line).err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if read != *length {
            return Err(io::Error::other(
                "a file grew while it was compacted: its hour is not over",
            ));
        }
    }
    writer.finish()?;
    let mut found = Sum::default();
    super::columns::lines(File::open(path)?, |line| found.add(line))?;
    let (lines, digest) = sum.finish();
    if found.finish() != (lines, digest) {
        return Err(io::Error::other(
            "a compacted file does not hold what it was made of",
        ));
    }
    sources.extend(whole.into_iter().map(|(source, _)| source));
    Ok(lines)
}
