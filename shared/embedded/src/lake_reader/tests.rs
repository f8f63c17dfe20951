//! The reader under the suite that every adapter passes, also with next to no memory; and what is the folder's own.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::record::ClickRecord;
use clickledger_testkit::contract::lake_reader::LakeUnderTest;
use clickledger_testkit::fixtures::ClickMaker;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::{Embedded, OpenOptions};

/// The raw folder: every third object is compressed, as Firehose writes them; the others are appended to a shard's file,
/// which is torn behind its last line.
struct RawFolder {
    reader: LakeFolder,
    lake: PathBuf,
    delivered: AtomicU64,
}

impl RawFolder {
    fn partition(&self, arrival: Hour) -> PathBuf {
        let start = jiff::Timestamp::from_millisecond(arrival.start_ms()).unwrap();
        let start = jiff::tz::TimeZone::UTC.to_datetime(start);
        let folder = format!("dt={}/hr={:02}", start.date(), start.hour());
        let folder = self.lake.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}

#[async_trait]
impl LakeUnderTest for RawFolder {
    fn reader(&self) -> &dyn LakeReader {
        &self.reader
    }

    async fn deliver(&self, arrival: Hour, lines: Vec<Vec<u8>>) {
        let (folder, n) = (
            self.partition(arrival),
            self.delivered.fetch_add(1, Ordering::Relaxed),
        );
        if n % 3 == 0 {
            let file = std::fs::File::create_new(folder.join(format!("clicks-{n}.gz"))).unwrap();
            let mut encoder = GzEncoder::new(file, Compression::fast());
            encoder.write_all(&lines.concat()).unwrap();
            encoder.finish().unwrap();
            return;
        }
        let path = folder.join(format!("shardId-{:012}.ndjson", n % 2));
        let mut whole = std::fs::read(&path).unwrap_or_default();
        whole.truncate(
            whole
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1),
        );
        whole.extend(lines.concat());
        whole.extend(&lines[0][..lines[0].len() / 2]);
        std::fs::write(path, whole).unwrap();
    }
}

fn raw_folder(dir: &TempDir, reader: LakeFolder) -> RawFolder {
    RawFolder {
        reader,
        lake: dir.path().join("lake"),
        delivered: AtomicU64::new(0),
    }
}

async fn open() -> (RawFolder, (Embedded, TempDir)) {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    (raw_folder(&dir, store.lake_reader()), (store, dir))
}

/// Every limit is passed many times over.
const TINY: Sizes = Sizes {
    ids: 90,
    ads: 40,
    others: 30,
    window: 9,
};

async fn open_tiny() -> (RawFolder, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let reader = LakeFolder::open(dir.path().join("lake"), dir.path().join("recounts")).unwrap();
    (
        raw_folder(
            &dir,
            LakeFolder {
                sizes: TINY,
                ..reader
            },
        ),
        dir,
    )
}

clickledger_testkit::lake_reader_contract!(open);

mod tiny {
    use super::*;

    clickledger_testkit::lake_reader_contract!(open_tiny);
}

/// 2026-01-02T00:00:00Z.
const HOUR: Hour = Hour(490_920);

fn records(count: usize) -> Vec<ClickRecord> {
    let mut maker = ClickMaker::new(3, 5, HOUR.start_ms(), 1.0);
    (0..count).map(|_| maker.record()).collect()
}

fn around() -> Range<Hour> {
    Hour(HOUR.0 - 1)..Hour(HOUR.0 + 2)
}

#[tokio::test]
async fn line_counts_once_it_is_whole() {
    let (lake, _alive) = open_tiny().await;
    let records = records(2);
    let lines: Vec<Vec<u8>> = records.iter().map(|record| record.to_line().unwrap()).collect();
    let path = lake.partition(HOUR).join("shardId-000000000000.ndjson");
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&lines[0]).unwrap();
    // All but its end: the pump is at it.
    file.write_all(lines[1].trim_ascii_end()).unwrap();
    let clicks = async || lake.reader.recount(HOUR, around()).await.unwrap().totals.clicks;
    assert_eq!(clicks().await, 1);
    let asked: Vec<ClickId> = records.iter().map(|record| record.click_id).collect();
    let present = lake.reader.present(around(), &asked).await.unwrap();
    assert_eq!(present, HashSet::from([asked[0]]));
    file.write_all(b"\n").unwrap();
    assert_eq!(clicks().await, 2);
    assert_eq!(lake.reader.present(around(), &asked).await.unwrap().len(), 2);
}

#[tokio::test]
async fn list_goes_on_where_a_torn_line_is_ended_between_pages() {
    let (lake, _alive) = open_tiny().await;
    let mut records = records(30);
    for record in &mut records {
        (record.verdict, record.claimed, record.duplicate_of) =
            (clickledger_core::domain::verdict::Verdict::Valid, false, None);
    }
    records.retain(|record| record.impression_id.is_some());
    let lines: Vec<Vec<u8>> = records.iter().map(|record| record.to_line().unwrap()).collect();
    let (torn, whole) = lines.split_last().unwrap();
    let path = lake.partition(HOUR).join("shardId-000000000000.ndjson");
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&whole.concat()).unwrap();
    file.write_all(&torn[..100]).unwrap();
    let slice = LakeSlice {
        arrivals: around(),
        clicked: Some(HOUR),
    };
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = lake.reader.unclaimed(&slice, after, 4).await.unwrap();
        after = page.last().map(|last| last.click.click_id);
        let full = page.len() == 4;
        listed.extend(page.into_iter().map(|click| click.click.click_id));
        if !full {
            break;
        }
        if listed.len() == 4 {
            file.write_all(&torn[100..]).unwrap();
        }
    }
    let mut expected: Vec<ClickId> = records.iter().map(|record| record.click_id).collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn results_of_an_earlier_process_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    let store = open();
    let lake = raw_folder(&dir, store.lake_reader());
    let lines = records(20)
        .iter()
        .map(|record| record.to_line().unwrap())
        .collect();
    lake.deliver(HOUR, lines).await;
    let left = store.lake_reader().recount(HOUR, around()).await.unwrap();
    let rows = store.lake_reader().rows(&left.id, 0, 1_000).await.unwrap();
    assert!(rows.iter().any(|row| row.entity == Entity::Total));
    store.close().await;
    let store = open();
    let gone = store.lake_reader().rows(&left.id, 0, 1_000).await;
    assert!(matches!(gone, Err(PortError::Rejected(_))), "{gone:?}");
    assert!(!dir.path().join("recounts").exists());
    let again = store.lake_reader().recount(HOUR, around()).await.unwrap();
    assert_ne!(again.id, left.id, "a name is never used for another result");
    assert_eq!(store.lake_reader().rows(&again.id, 0, 1_000).await.unwrap(), rows);
}

#[tokio::test]
async fn recount_leaves_its_result_and_nothing_else() {
    let (lake, dir) = open_tiny().await;
    let lines = records(400)
        .iter()
        .map(|record| record.to_line().unwrap())
        .collect();
    lake.deliver(HOUR, lines).await;
    let recount = lake.reader.recount(HOUR, around()).await.unwrap();
    let results = dir.path().join("recounts");
    let mut names: Vec<_> = std::fs::read_dir(results.join(&recount.id))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["index", "rows"]);
    lake.reader.forget(&recount.id).await.unwrap();
    assert_eq!(std::fs::read_dir(&results).unwrap().count(), 0);
    // A file that can't be read: no half result stays.
    std::fs::write(lake.partition(HOUR).join("broken.gz"), b"not gzip").unwrap();
    let failed = lake.reader.recount(HOUR, around()).await;
    assert!(matches!(failed, Err(PortError::Unavailable(_))), "{failed:?}");
    assert_eq!(std::fs::read_dir(&results).unwrap().count(), 0);
}

/// Objects that were compacted as soon as they were delivered, now and then; or not yet.
#[cfg(feature = "parquet")]
mod compacted {
    use super::*;

    struct Compacted(RawFolder);

    #[async_trait]
    impl LakeUnderTest for Compacted {
        fn reader(&self) -> &dyn LakeReader {
            &self.0.reader
        }

        async fn deliver(&self, arrival: Hour, lines: Vec<Vec<u8>>) {
            let delivered = self.0.delivered.load(Ordering::Relaxed);
            if delivered % 4 == 3 {
                // Alone, and not torn: only whole files are compacted.
                let path = self
                    .0
                    .partition(arrival)
                    .join(format!("whole-{delivered}.ndjson"));
                std::fs::write(path, lines.concat()).unwrap();
                assert!(self.0.reader.compact(arrival).await.unwrap() >= lines.len() as u64);
                self.0.delivered.fetch_add(1, Ordering::Relaxed);
            } else {
                self.0.deliver(arrival, lines).await;
            }
        }
    }

    async fn open_compacted() -> (Compacted, TempDir) {
        let (lake, dir) = open_tiny().await;
        (Compacted(lake), dir)
    }

    clickledger_testkit::lake_reader_contract!(open_compacted);

    fn names(folder: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn compaction_leaves_one_file_and_the_same_recount() {
        let (lake, _alive) = open_tiny().await;
        let folder = lake.partition(HOUR);
        let lines: Vec<Vec<u8>> = records(500)
            .iter()
            .map(|record| record.to_line().unwrap())
            .collect();
        std::fs::write(folder.join("shardId-000000000000.ndjson"), lines[..300].concat()).unwrap();
        std::fs::write(folder.join("shardId-000000000001.ndjson"), lines[200..].concat()).unwrap();
        let rows = async || {
            let recount = lake.reader.recount(HOUR, around()).await.unwrap();
            (
                recount.totals,
                lake.reader.rows(&recount.id, 0, 10_000).await.unwrap(),
            )
        };
        let before = rows().await;
        assert_eq!((before.0.rows, before.0.clicks), (600, 500), "a row stays a row");
        assert_eq!(lake.reader.compact(HOUR).await.unwrap(), 600);
        assert_eq!(rows().await, before);
        let compacted = names(&folder);
        assert_eq!(compacted.len(), 1, "{compacted:?}");
        assert!(compacted[0].ends_with(".parquet"));
        assert_eq!(
            lake.reader.compact(HOUR).await.unwrap(),
            0,
            "nothing is left to be compacted"
        );
        assert_eq!(names(&folder), compacted);
    }

    #[tokio::test]
    async fn what_a_crash_left_is_tidied_up_and_partitions_are_told_until_they_are_compacted() {
        let (lake, _alive) = open_tiny().await;
        let folder = lake.partition(HOUR);
        let lines: Vec<Vec<u8>> = records(50)
            .iter()
            .map(|record| record.to_line().unwrap())
            .collect();
        let source = folder.join("shardId-000000000000.ndjson");
        std::fs::write(&source, lines.concat()).unwrap();
        let later = Hour(HOUR.0 + 1);
        assert_eq!(lake.reader.uncompacted(later).await.unwrap(), [HOUR]);
        assert_eq!(lake.reader.uncompacted(HOUR).await.unwrap(), []);
        assert_eq!(lake.reader.compact(HOUR).await.unwrap(), 50);
        assert_eq!(lake.reader.uncompacted(later).await.unwrap(), []);
        let compacted = names(&folder);

        // It ended before it removed the source, and one before that while it wrote.
        std::fs::write(&source, lines.concat()).unwrap();
        std::fs::write(folder.join("clicks-00.parquet.unfinished"), b"PAR1").unwrap();
        assert_eq!(lake.reader.compact(HOUR).await.unwrap(), 0);
        assert_eq!(names(&folder), compacted);

        // What came since is no repeat of it.
        std::fs::write(&source, lines[..20].concat()).unwrap();
        assert_eq!(lake.reader.compact(HOUR).await.unwrap(), 20);
        assert_eq!(names(&folder).len(), 2);
        let totals = lake.reader.recount(HOUR, around()).await.unwrap().totals;
        assert_eq!((totals.clicks, totals.rows), (50, 70));
    }

    #[tokio::test]
    async fn file_that_is_torn_or_broken_is_not_compacted() {
        let (lake, _alive) = open_tiny().await;
        let folder = lake.partition(HOUR);
        let mut line = records(1)[0].to_line().unwrap();
        line.pop();
        std::fs::write(folder.join("shardId-000000000000.ndjson"), &line).unwrap();
        assert_eq!(lake.reader.compact(HOUR).await.unwrap(), 0);
        std::fs::write(folder.join("broken.gz"), b"not gzip").unwrap();
        assert!(lake.reader.compact(HOUR).await.is_err());
        assert_eq!(names(&folder), ["broken.gz", "shardId-000000000000.ndjson"]);
        assert_eq!(
            std::fs::read(folder.join("shardId-000000000000.ndjson")).unwrap(),
            line
        );
    }
}
