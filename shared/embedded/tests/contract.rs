//! The embedded adapters under the suites that every adapter passes.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::LakeReader;
use clickledger_embedded::{
    Buckets, Catalog, Claims, Embedded, Keys, LakeFolder, Lanes, OpenOptions, Seals, SpillTable, Stream,
    TokenKeySafe,
};
use clickledger_testkit::contract::lake_reader::LakeUnderTest;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

fn folder() -> (Embedded, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Embedded::open(dir.path(), OpenOptions::default()).unwrap(), dir)
}

macro_rules! opened_by {
    ($($open:ident: $port:ident => $of:ident,)*) => {
        $(async fn $open() -> ($port, TempDir) {
            let (store, dir) = folder();
            (store.$of(), dir)
        })*
    };
}

opened_by! {
    open_claims: Claims => claims,
    open_stream: Stream => stream,
    open_buckets: Buckets => buckets,
    open_lanes: Lanes => lanes,
    open_catalog: Catalog => catalog,
    open_keys: Keys => keys,
    open_token_keys: TokenKeySafe => token_keys,
    open_seals: Seals => seals,
    open_spill: SpillTable => spill,
}

clickledger_testkit::claim_store_contract!(open_claims);
clickledger_testkit::click_stream_contract!(open_stream);
clickledger_testkit::bucket_store_contract!(open_buckets);
clickledger_testkit::lane_log_contract!(open_lanes);
clickledger_testkit::ad_catalog_contract!(open_catalog);
clickledger_testkit::api_keys_contract!(open_keys);
clickledger_testkit::token_keys_contract!(open_token_keys);
clickledger_testkit::seal_store_contract!(open_seals);
clickledger_testkit::spill_contract!(open_spill, given_time);
clickledger_testkit::manifests_contract!(open_seals);
clickledger_testkit::leases_contract!(open_seals);
clickledger_testkit::sealed_counts_contract!(open_seals);
clickledger_testkit::rulings_contract!(open_seals);
clickledger_testkit::seal_reports_contract!(open_seals);

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

async fn open_lake_reader() -> (RawFolder, (Embedded, TempDir)) {
    let (store, dir) = folder();
    let raw = RawFolder {
        reader: store.lake_reader(),
        lake: dir.path().join("lake"),
        delivered: AtomicU64::new(0),
    };
    (raw, (store, dir))
}

clickledger_testkit::lake_reader_contract!(open_lake_reader);
