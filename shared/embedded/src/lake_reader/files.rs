//! The lake's files, and going over their lines.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use clickledger_core::domain::ids::ClickId;
use clickledger_core::domain::time::{Day, Hour};
use flate2::read::MultiGzDecoder;
use jiff::civil::Date;

/// How a file holds its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As the pump appends them: it may still be at it.
    Lines,
    /// As Firehose delivers them: gzip, whole from the first.
    Gzip,
    /// As compaction writes them: Parquet, whole from the first.
    Parquet,
}

/// A file of the lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LakeFile {
    pub(super) path: PathBuf,
    pub(super) arrival: Hour,
    pub(super) form: Form,
    /// Where to begin: everything, or what was appended since.
    pub(super) from: u64,
}

fn folders(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((entry.path(), name));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn day_of(name: &str) -> Option<Day> {
    let date: Date = name.strip_prefix("dt=")?.parse().ok()?;
    let since = date.since(Date::constant(1970, 1, 1)).ok()?;
    Some(Day(since.get_days().into()))
}

fn hour_of(name: &str, day: Day) -> Option<Hour> {
    let hour: i64 = name.strip_prefix("hr=")?.parse().ok()?;
    (0..24).contains(&hour).then(|| Hour(day.first_hour().0 + hour))
}

fn form_of(name: &str) -> Option<Form> {
    if name.ends_with(".ndjson") {
        Some(Form::Lines)
    } else if name.ends_with(".gz") {
        Some(Form::Gzip)
    } else if name.ends_with(".parquet") {
        Some(Form::Parquet)
    } else {
        None
    }
}

/// The files of these partitions, in order.
pub(super) fn list(lake: &Path, arrivals: &Range<Hour>) -> io::Result<Vec<LakeFile>> {
    let mut found = Vec::new();
    for (folder, name) in folders(lake)? {
        let Some(day) = day_of(&name) else { continue };
        let first = day.first_hour();
        if first >= arrivals.end || Hour(first.0 + 24) <= arrivals.start {
            continue;
        }
        for (folder, name) in folders(&folder)? {
            let Some(arrival) = hour_of(&name, day).filter(|hour| arrivals.contains(hour)) else {
                continue;
            };
            for (path, name) in folders(&folder)? {
                if let Some(form) = form_of(&name) {
                    found.push(LakeFile {
                        path,
                        arrival,
                        form,
                        from: 0,
                    });
                }
            }
        }
    }
    Ok(found)
}

/// The click of a record in our own spelling, by the line's beginning; `None`: only reading it all will tell.
pub(super) fn click_id_of(line: &[u8]) -> Option<ClickId> {
    let rest = line.strip_prefix(br#"{"v":1,"click_id":""#)?;
    let (text, rest) = rest.split_at_checked(22)?;
    if rest.first() != Some(&b'"') {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;
/// A line that is longer is no record (a record is 1 MiB at most): it is read over.
const LONGEST_LINE: usize = 4 << 20;

/// Gives every whole line of the file to `each`, without its end; says where the last of them ends, as a place in the
/// file (of a compressed one: its length).
pub(super) fn lines(file: &LakeFile, each: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut opened = File::open(&file.path)?;
    match file.form {
        Form::Lines => {
            opened.seek(SeekFrom::Start(file.from))?;
            Ok(file.from + lines_of(&mut opened, false, each)?)
        }
        Form::Gzip => {
            let length = opened.metadata()?.len();
            // A compressed file never grows: there is nothing behind what was read.
            if file.from < length {
                lines_of(&mut MultiGzDecoder::new(opened), true, each)?;
            }
            Ok(length)
        }
        Form::Parquet => {
            let length = opened.metadata()?.len();
            if file.from < length {
                parquet_lines(opened, each)?;
            }
            Ok(length)
        }
    }
}

#[cfg(feature = "parquet")]
fn parquet_lines(file: File, each: impl FnMut(&[u8])) -> io::Result<()> {
    super::columns::lines(file, each)
}

/// Passing over them would lose counts.
#[cfg(not(feature = "parquet"))]
fn parquet_lines(_: File, _: impl FnMut(&[u8])) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "the lake was compacted to Parquet, which this program was built without",
    ))
}

/// Gives every line to `each`; the last one, where it has no end, only if `whole` says that nothing will follow. Says how
/// many bytes these lines have.
pub(super) fn lines_of(reader: &mut impl Read, whole: bool, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    // What is in the buffer and not given away; the first `looked` bytes of it hold no end of a line.
    let (mut held, mut looked, mut given) = (0, 0, 0);
    let mut too_long = false;
    loop {
        let read = match reader.read(&mut buffer[held..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            break;
        }
        held += read;
        let mut begin = 0;
        while let Some(length) = memchr::memchr(b'\n', &buffer[begin + looked..held]) {
            let end = begin + looked + length;
            if !std::mem::take(&mut too_long) {
                each(&buffer[begin..end]);
            }
            (begin, looked) = (end + 1, 0);
        }
        given += begin as u64;
        buffer.copy_within(begin..held, 0);
        held -= begin;
        looked = held;
        if held > LONGEST_LINE {
            too_long = true;
            given += held as u64;
            (held, looked) = (0, 0);
        } else if held == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
    }
    if whole && held > 0 && !too_long {
        each(&buffer[..held]);
        given += held as u64;
    }
    Ok(given)
}

/// How many threads read: each has its own share of memory (see `Sizes`).
pub(super) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2))
}

/// Goes over all lines of all files, several files at a time; each thread has a state of its own.
pub(super) fn scan<S: Default + Send>(
    files: &[LakeFile],
    each: impl Fn(&mut S, &LakeFile, &[u8]) + Sync,
) -> io::Result<Vec<S>> {
    let next = AtomicUsize::new(0);
    in_threads(workers().min(files.len()), || {
        let mut state = S::default();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            lines(file, |line| each(&mut state, file, line))?;
        }
        Ok(state)
    })
}

/// Does the same on so many threads; the first error is that of all.
pub(super) fn in_threads<S: Send>(
    threads: usize,
    work: impl Fn() -> io::Result<S> + Sync,
) -> io::Result<Vec<S>> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let ended = running.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread that read the lake ended in a panic")))
        });
        ended.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers a few bytes at a time.
    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len()).min(self.0.len());
            let (now, rest) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = rest;
            Ok(length)
        }
    }

    fn read(text: &[u8], step: usize, whole: bool) -> (Vec<Vec<u8>>, u64) {
        let mut found = Vec::new();
        let given = lines_of(&mut Slowly(text, step), whole, |line| found.push(line.to_vec())).unwrap();
        (found, given)
    }

    #[test]
    fn lines_are_whole_and_a_torn_one_is_not_there_yet() {
        for step in [1, 3, 1_000] {
            let expected = (vec![b"one".to_vec(), vec![], b"three".to_vec()], 11);
            assert_eq!(read(b"one\n\nthree\n", step, false), expected);
            assert_eq!(read(b"one\n\nthree\n{\"tor", step, false), expected);
            let (found, given) = read(b"one\n\nthree\n{\"last", step, true);
            assert_eq!(
                (found.len(), found[3].as_slice(), given),
                (4, &b"{\"last"[..], 17)
            );
        }
        assert_eq!(read(b"", 5, true), (vec![], 0));
    }

    #[test]
    fn lines_of_every_length_are_read_and_endless_ones_read_over() {
        let long = vec![b'x'; 3 * CHUNK + 7];
        let endless = vec![b'y'; LONGEST_LINE + 2 * CHUNK];
        let text = [&long[..], b"\n", &endless[..], b"\nlast\n"].concat();
        let (found, given) = read(&text, 100_000, false);
        assert_eq!(found, [long, b"last".to_vec()]);
        assert_eq!(given, text.len() as u64);
    }

    #[test]
    fn partitions_are_known_by_their_names() {
        let day = Day::of(1_767_312_000_000);
        assert_eq!(day_of("dt=2026-01-02"), Some(day));
        assert_eq!(hour_of("hr=23", day), Some(Hour(day.first_hour().0 + 23)));
        for bad in ["2026-01-02", "dt=", "dt=2026-13-02", "hr=07"] {
            assert_eq!(day_of(bad), None, "{bad:?}");
        }
        for bad in ["hr=24", "hr=-1", "hr=", "07"] {
            assert_eq!(hour_of(bad, day), None, "{bad:?}");
        }
        assert_eq!(form_of("a.ndjson"), Some(Form::Lines));
        assert_eq!(form_of("a.ndjson.gz"), Some(Form::Gzip));
        assert_eq!(form_of("a.ndjson.tmp"), None);
    }
}
