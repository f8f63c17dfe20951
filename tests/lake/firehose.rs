//! A lake as Firehose leaves it: many records to a gzip object, objects that straddle the hour and are named by their oldest
//! record, objects delivered twice, records that come hours late, heartbeats, lines that are no clicks, and what it could not
//! deliver under the error prefix.
//!
//! Invariant: the same seed gives the same lake.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use clickledger_core::domain::heartbeat::Heartbeat;
use clickledger_core::domain::ids::{ClickId, HeartbeatId};
use clickledger_core::domain::record::ClickRecord;
use clickledger_core::domain::time::{HOUR_MS, Hour, MINUTE_MS};
use clickledger_core::domain::verdict::Verdict;
use clickledger_testkit::fixtures::ClickMaker;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How long Firehose gathers an object.
const BUFFER_MS: i64 = 5 * MINUTE_MS;
/// Traffic before the hour, and behind its end.
const AROUND_MS: i64 = 20 * MINUTE_MS;
const ADS: u64 = 2_000;
/// One record in so many lies in the lake twice by itself: a producer put it again.
const REPEATED: u64 = 1_000;
/// One in so many waited outside for hours.
const LATE: u64 = 2_000;
/// One in so many valid ones came unclaimed.
const UNCLAIMED: u64 = 3_000;
/// One in so many never got into the lake.
const UNDELIVERED: u64 = 10_000;
/// Every so many objects one is delivered twice.
const TWICE: u64 = 6;
/// Lines that count for nothing: no JSON, no click, a version of another time.
const OTHERS: [&str; 4] = [
    "\n",
    "not JSON\n",
    "{\"v\":1}\n",
    "{\"v\":9,\"heartbeat\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"shard\":\"s\",\"sent_at_ms\":1}\n",
];

/// What is known of the lake, counted while it was written.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) hour: Hour,
    /// The first partition that holds anything, and the one behind the last.
    pub(crate) arrivals: (Hour, Hour),
    /// Different clicks of the hour, and rows of them.
    pub(crate) clicks: u64,
    pub(crate) rows: u64,
    /// Of these, unclaimed ones.
    pub(crate) unclaimed: u64,
    /// Some that lie in the lake.
    pub(crate) some: Vec<ClickId>,
    pub(crate) objects: u64,
}

/// An object that is being gathered.
struct Object {
    arrival: Hour,
    until_ms: i64,
    /// Rows of the hour, and whether the object is late.
    rows: u64,
    gzip: GzEncoder<Vec<u8>>,
}

impl Object {
    fn new(arrived_at_ms: i64) -> Self {
        Self {
            arrival: Hour::of(arrived_at_ms),
            until_ms: arrived_at_ms + BUFFER_MS,
            rows: 0,
            gzip: GzEncoder::new(Vec::new(), Compression::fast()),
        }
    }

    fn push(&mut self, line: &[u8], of_the_hour: bool) -> Result<()> {
        self.rows += u64::from(of_the_hour);
        Ok(self.gzip.write_all(line)?)
    }
}

struct Delivery<'a> {
    folder: &'a Path,
    truth: Truth,
}

impl Delivery<'_> {
    /// As Firehose names it, under this prefix.
    fn deliver(&mut self, prefix: &str, object: Object) -> Result<()> {
        let start = jiff::Timestamp::from_millisecond(object.arrival.start_ms())?;
        let partition = start.strftime("dt=%Y-%m-%d/hr=%H").to_string();
        let folder = self.folder.join(prefix).join(partition);
        std::fs::create_dir_all(&folder)?;
        let (bytes, mut times) = (object.gzip.finish()?, 1);
        if prefix == "lake" {
            self.truth.objects += 1;
            times += u64::from(self.truth.objects.is_multiple_of(TWICE));
            self.truth.rows += times * object.rows;
            let (first, behind) = self.truth.arrivals;
            self.truth.arrivals = (first.min(object.arrival), behind.max(Hour(object.arrival.0 + 1)));
        }
        for time in 0..times {
            let name = format!(
                "clicks-1-{}-{:06}-{time}.ndjson.gz",
                start.strftime("%Y-%m-%d-%H-%M-%S"),
                self.truth.objects
            );
            std::fs::write(folder.join(name), &bytes)?;
        }
        Ok(())
    }
}

/// Fills `folder/lake` and `folder/lake-errors` with so many clicks, some three fifths of them of the hour.
///
/// # Errors
/// The disk's.
pub(crate) fn fill(folder: &Path, hour: Hour, clicks: u64, seed: u64) -> Result<Truth> {
    let from_ms = hour.start_ms() - AROUND_MS;
    let seconds = (HOUR_MS + 2 * AROUND_MS) / 1_000;
    let mut maker = ClickMaker::new(seed, ADS, from_ms, clicks as f64 / seconds as f64);
    let mut random = StdRng::seed_from_u64(seed + 1);
    let truth = Truth {
        hour,
        arrivals: (hour, hour),
        clicks: 0,
        rows: 0,
        unclaimed: 0,
        some: Vec::new(),
        objects: 0,
    };
    let mut delivery = Delivery { folder, truth };
    let (mut open, mut next_beat_ms) = (Object::new(from_ms), from_ms);
    // By the hour in which they came at last; and what never came.
    let (mut late, mut lost) = (BTreeMap::<Hour, Object>::new(), Object::new(from_ms));
    for n in 0..clicks {
        let mut record = maker.record();
        let is_valid = record.verdict == Verdict::Valid;
        record.claimed &= !is_valid || !n.is_multiple_of(UNCLAIMED);
        // Half of the duplicates lost their impression to a click that lies in the lake.
        if record.verdict == Verdict::Duplicate && random.random() && !delivery.truth.some.is_empty() {
            let place = random.random_range(0..delivery.truth.some.len());
            record.duplicate_of = Some(delivery.truth.some[place]);
        }
        let arrived_at_ms = record.clicked_at_ms + 80;
        if arrived_at_ms >= open.until_ms {
            let done = std::mem::replace(&mut open, Object::new(arrived_at_ms));
            delivery.deliver("lake", done)?;
        }
        while next_beat_ms <= arrived_at_ms {
            for shard in 0..2_u8 {
                let id = HeartbeatId::new(next_beat_ms, [shard; 10]);
                let shard = format!("shardId-{shard:012}").as_str().into();
                open.push(&Heartbeat::new(id, &shard, next_beat_ms).to_line()?, false)?;
            }
            open.push(OTHERS[random.random_range(0..OTHERS.len())].as_bytes(), false)?;
            next_beat_ms += MINUTE_MS;
        }
        let (line, of_the_hour) = (record.to_line()?, Hour::of(record.clicked_at_ms) == hour);
        if n % UNDELIVERED == UNDELIVERED - 1 {
            lost.push(&line, false)?;
            continue;
        }
        if n % LATE == LATE - 1 {
            let came = Hour(Hour::of(arrived_at_ms).0 + random.random_range(1..6));
            let object = late.entry(came).or_insert_with(|| Object::new(came.start_ms()));
            object.push(&line, of_the_hour)?;
        } else {
            for _ in 0..1 + u64::from(n.is_multiple_of(REPEATED)) {
                open.push(&line, of_the_hour)?;
            }
        }
        note(&mut delivery.truth, &record, of_the_hour, n);
    }
    for object in late.into_values().chain([open]) {
        delivery.deliver("lake", object)?;
    }
    delivery.deliver("lake-errors/processing-failed", lost)?;
    Ok(delivery.truth)
}

fn note(truth: &mut Truth, record: &ClickRecord, of_the_hour: bool, n: u64) {
    if of_the_hour {
        truth.clicks += 1;
        truth.unclaimed += u64::from(record.verdict == Verdict::Valid && !record.claimed);
    }
    if n.is_multiple_of(997) {
        truth.some.push(record.click_id);
    }
}
