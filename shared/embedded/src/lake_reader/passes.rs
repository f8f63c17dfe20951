//! Counting different clicks in several passes over the files, so that the ids of one pass fit into memory: a pass takes
//! the ids whose last bits are its own.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::record::CountedClick;
use clickledger_core::domain::time::Hour;
use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::files::{Form, LakeFile, click_id_of, in_threads, lines, lines_of, workers};

/// One sample for so many bytes of a file.
const SAMPLE_EVERY: u64 = 32 << 20;
/// Bytes of a sample.
const SAMPLE: u64 = 64 * 1024;

/// How many clicks of this hour (of all, if `None`) the files hold, about, by samples: memory depends on it, the result
/// doesn't.
pub(super) fn expected(files: &[LakeFile], hour: Option<Hour>) -> io::Result<u64> {
    let mut expected = 0.0;
    for file in files {
        let length = std::fs::metadata(&file.path)?.len();
        let (mut of_hour, mut bytes) = (0_u64, 1_u64);
        let mut count = |line: &[u8]| {
            bytes += line.len() as u64 + 1;
            let click = click_id_of(line).map(|id| Hour::of(id.unix_ms()));
            of_hour += u64::from(click.is_none() || hour.is_none() || click == hour);
        };
        let length = match file.form {
            Form::Lines => {
                for from in (0..length).step_by(SAMPLE_EVERY as usize) {
                    let mut opened = std::fs::File::open(&file.path)?;
                    io::Seek::seek(&mut opened, io::SeekFrom::Start(from))?;
                    lines_of(&mut io::Read::take(opened, SAMPLE), false, &mut count)?;
                }
                length
            }
            Form::Gzip => {
                let opened = flate2::read::MultiGzDecoder::new(std::fs::File::open(&file.path)?);
                lines_of(&mut io::Read::take(opened, SAMPLE), false, &mut count)?;
                // Ids and hashes hardly shrink: a record of 350 bytes takes some 90.
                length * 4
            }
            Form::Parquet => {
                // Some 90 bytes a record here too.
                expected += length as f64 / 90.0;
                continue;
            }
        };
        expected += of_hour as f64 * (length as f64 / bytes as f64).max(1.0);
    }
    Ok((expected * 1.1) as u64)
}

/// Which pass takes this click: ids end in random bits.
fn pass_of(id: ClickId, passes: u64) -> u64 {
    (id.0 as u64 & 0xFFFF_FFFF) % passes
}

/// Gives every row of a click of this hour (of every hour, if `None`) to `each`: the click, whether it is its first row,
/// and its partition. All rows of a click come to the same state; there are as many states as threads.
pub(super) fn in_passes<S: Send>(
    files: &[LakeFile],
    passes: u64,
    hour: Option<Hour>,
    state: impl Fn() -> io::Result<S> + Sync,
    each: impl Fn(&mut S, &CountedClick, bool, Hour) -> io::Result<()> + Sync,
) -> io::Result<Vec<S>> {
    // Every pass reads all files, so all threads get as many.
    let threads = workers() as u64;
    let passes = passes.next_multiple_of(threads).max(threads);
    let next = AtomicU64::new(0);
    in_threads(threads as usize, || {
        let (mut state, mut ids) = (state()?, HashSet::<ClickId, RandomState>::default());
        loop {
            let pass = next.fetch_add(1, Ordering::Relaxed);
            if pass >= passes {
                return Ok(state);
            }
            ids.clear();
            for file in files {
                let mut failed = None;
                lines(file, |line| {
                    if failed.is_some() || click_id_of(line).is_some_and(|id| pass_of(id, passes) != pass) {
                        return;
                    }
                    let Ok(click) = CountedClick::parse(line) else {
                        return;
                    };
                    if pass_of(click.click_id, passes) == pass
                        && hour.is_none_or(|hour| Hour::of(click.clicked_at_ms) == hour)
                    {
                        let first = ids.insert(click.click_id);
                        failed = each(&mut state, &click, first, file.arrival).err();
                    }
                })?;
                if let Some(error) = failed {
                    return Err(error);
                }
            }
        }
    })
}
