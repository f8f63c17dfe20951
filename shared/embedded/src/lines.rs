//! Files that only grow, by whole lines.
//!
//! Invariant: after `Ok` the lines are on the disk; what a crash tore stays a line of its own, and never joins the next.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use clickledger_core::domain::time::Hour;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Opens a file for appending, and makes it and its folders where they are not there yet. A last line without its end is ended.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let new = !path.exists();
    if new && let Some(folder) = path.parent() {
        make_folders(folder)?;
    }
    let mut file = File::options().read(true).append(true).create(true).open(path)?;
    if new {
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
        }
    } else if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Appends whole lines, durably. After an error the file must be opened anew before it is appended to again.
pub(crate) fn append(file: &mut File, lines: &[u8]) -> io::Result<()> {
    file.write_all(lines)?;
    file.sync_data()
}

/// `dt=YYYY-MM-DD`, the UTC day of an hour, and `hr=HH`.
pub(crate) fn partition(hour: Hour) -> (String, String) {
    // Hours outside jiff's range are years outside −9999 to 9999: a broken clock's records go to the epoch.
    let time = Timestamp::from_millisecond(hour.start_ms()).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = TimeZone::UTC.to_datetime(time);
    (format!("dt={}", time.date()), format!("hr={:02}", time.hour()))
}

fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folders(parent)?;
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    folder.parent().map_or(Ok(()), sync_folder)
}

/// A new name in a folder is durable only once the folder is.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_stays_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/lines.ndjson");
        append(&mut open(&path).unwrap(), b"one\n").unwrap();
        // A crash in the middle of an append.
        open(&path).unwrap().write_all(b"{\"tor").unwrap();
        append(&mut open(&path).unwrap(), b"two\n").unwrap();
        append(&mut open(&path).unwrap(), b"three\n").unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "one\n{\"tor\ntwo\nthree\n"
        );
    }

    #[test]
    fn partitions_are_utc_days_and_hours() {
        // 2026-01-02T00:00:00Z.
        let day = Hour::of(1_767_312_000_000);
        assert_eq!(partition(day), ("dt=2026-01-02".to_owned(), "hr=00".to_owned()));
        assert_eq!(
            partition(Hour(day.0 - 1)),
            ("dt=2026-01-01".to_owned(), "hr=23".to_owned())
        );
        assert_eq!(
            partition(Hour(i64::MAX / 7_200_000)),
            ("dt=1970-01-01".to_owned(), "hr=00".to_owned())
        );
    }
}
