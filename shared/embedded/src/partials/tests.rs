use std::collections::HashMap;

use clickledger_core::domain::counter::CounterKey;
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::BucketKey;
use clickledger_core::domain::ids::AdId;
use clickledger_core::domain::verdict::Verdict;

use super::*;
use crate::schema;

const PACE: Pace = Pace {
    every_ms: 3,
    most: 30,
    step: 2,
};

struct Folder {
    conn: Connection,
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut conn = schema::connect(&dir.path().join(schema::FILE), &schema::WRITER).unwrap();
        schema::prepare(&mut conn, dir.path()).unwrap();
        Self { conn, dir }
    }

    /// As another process would find it.
    fn reopen(&mut self) -> Partials {
        self.conn = schema::connect(&self.dir.path().join(schema::FILE), &schema::WRITER).unwrap();
        // No machine crashes here.
        self.conn.pragma_update(None, "synchronous", "off").unwrap();
        Partials::load(&self.conn, Hot::default(), PACE).unwrap()
    }

    fn logged(&self) -> i64 {
        self.conn
            .query_row("SELECT count(*) FROM partial_log", [], |row| row.get(0))
            .unwrap()
    }

    /// What readers get: memory, and `buckets` for the rest.
    fn state(&self, partials: &Partials) -> HashMap<u64, (Option<i64>, u64)> {
        let mut rows = self
            .conn
            .prepare("SELECT id, watermark, totals FROM buckets")
            .unwrap();
        let mut state: HashMap<u64, (Option<i64>, u64)> = rows
            .query_map([], |row| {
                let mut totals = [0; 9];
                counts::add_totals(row.get_ref(2)?.as_blob()?, &mut totals).unwrap();
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), (row.get(1)?, totals[0])))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (key, partial) in partials.hot.lock().iter() {
            if partial.watermark.is_some() {
                state.insert(
                    key.id.cast_unsigned(),
                    (partial.watermark, partial.counters.valid()),
                );
            }
        }
        state
    }
}

fn write(ad: u64, first: u64, last: u64, count: u64) -> PartialWrite {
    let counter = CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ);
    PartialWrite {
        key: BucketKey {
            entity: Entity::Ad(AdId(ad)),
            minute: Minute(7),
        },
        shard: "shardId-000000000000".into(),
        condition: Condition::Below(first.into()),
        last: last.into(),
        delta: [(counter, count)].into_iter().collect(),
    }
}

/// Numbers without a pattern, the same in each run.
fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn log_and_table_together_are_the_state_at_every_moment() {
    for seed in 0..20 {
        let (mut folder, mut random_state) = (Folder::new(), seed);
        let mut partials = folder.reopen();
        let mut truth: HashMap<u64, (Option<i64>, u64)> = HashMap::new();
        let mut longest = 0;
        for group in 1_u64..400 {
            folder.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
            let mut after = truth.clone();
            for n in 0..random(&mut random_state) % 6 {
                let (ad, seq) = (1 + random(&mut random_state) % 40, group * 10 + n);
                let committed = partials.write(&folder.conn, write(ad, seq, seq, 1)).unwrap();
                assert_eq!(committed, Committed::Applied);
                let (watermark, count) = after.entry(ad).or_default();
                (*watermark, *count) = (Some(seq.cast_signed()), *count + 1);
            }
            partials.flush(&folder.conn).unwrap();
            if random(&mut random_state).is_multiple_of(10) {
                folder.conn.execute_batch("ROLLBACK").unwrap();
                partials.rolled_back();
            } else {
                folder.conn.execute_batch("COMMIT").unwrap();
                partials.committed(group.cast_signed());
                truth = after;
            }
            assert_eq!(folder.state(&partials), truth, "seed {seed}, group {group}");
            longest = longest.max(folder.logged());
            if random(&mut random_state).is_multiple_of(7) {
                partials = folder.reopen();
                assert_eq!(
                    folder.state(&partials),
                    truth,
                    "seed {seed}, reopened after group {group}"
                );
            }
        }
        assert!(longest < 300, "the log was never dropped: {longest} rows");
        let rows: i64 = folder
            .conn
            .query_row("SELECT count(*) FROM buckets", [], |row| row.get(0))
            .unwrap();
        assert!(rows > 0, "nothing was put into the table");
    }
}

#[test]
fn writes_of_one_group_see_each_other_and_a_rollback_forgets_them() {
    let mut folder = Folder::new();
    let mut partials = folder.reopen();
    folder.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(
        partials.write(&folder.conn, write(1, 5, 9, 1)).unwrap(),
        Committed::Applied
    );
    let stale = Committed::Stale(Some(9_u64.into()));
    assert_eq!(partials.write(&folder.conn, write(1, 9, 12, 1)).unwrap(), stale);
    partials.flush(&folder.conn).unwrap();
    folder.conn.execute_batch("ROLLBACK").unwrap();
    partials.rolled_back();
    assert_eq!(folder.state(&partials), HashMap::new());
    assert_eq!(
        partials.write(&folder.conn, write(1, 5, 9, 1)).unwrap(),
        Committed::Applied
    );
}

#[test]
fn clean_partials_leave_memory() {
    let mut folder = Folder::new();
    let mut partials = folder.reopen();
    let mut most = 0;
    for group in 1_u64..500 {
        folder.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        partials
            .write(&folder.conn, write(group, group, group, 1))
            .unwrap();
        partials.flush(&folder.conn).unwrap();
        folder.conn.execute_batch("COMMIT").unwrap();
        partials.committed(group.cast_signed());
        most = most.max(partials.hot.lock().len());
    }
    assert!(most < 200, "{most} partials in memory");
    assert_eq!(folder.state(&partials).len(), 499);
}
