use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use clickledger_core::domain::counter::CounterKey;
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::AdId;
use clickledger_core::domain::time::Minute;
use clickledger_core::domain::verdict::Verdict;

use std::time::Duration;

use super::*;
use crate::schema;

const PACE: Pace = Pace {
    every_ms: 3,
    spread_ms: 10,
    least: 1,
    most: 8,
    budget_ms: 5,
    rest_ms: 20,
    crowded_bytes: 30 * 320,
    full_bytes: 60 * 320,
    log_bytes: 1_000,
};

/// A clock that the groups' numbers move.
#[derive(Default)]
struct At(AtomicI64);

#[async_trait::async_trait]
impl Clock for At {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn sleep(&self, _: u64) {}
}

/// Watermark and count by ad and minute.
type State = HashMap<(u64, i64), (i64, u64)>;

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
    fn state(&self, partials: &Partials) -> State {
        let mut select = self
            .conn
            .prepare("SELECT id, hour, totals, cells FROM buckets")
            .unwrap();
        let (mut rows, mut state) = (select.query([]).unwrap(), State::new());
        while let Some(row) = rows.next().unwrap() {
            let (id, hour): (i64, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
            let (totals, cells): (Vec<u8>, Vec<u8>) = (row.get(2).unwrap(), row.get(3).unwrap());
            for stored in hour_row::Partials::of(&totals, &cells) {
                let (stored, mut counters) = (stored.unwrap(), Counters::default());
                stored.add(&mut counters).unwrap();
                let key = (id.cast_unsigned(), hour * 60 + i64::from(stored.place));
                state.insert(key, (stored.watermark, counters.valid()));
            }
        }
        for (key, partial) in partials.hot.lock().iter() {
            let key = (key.row.id.cast_unsigned(), key.minute().0);
            state.insert(key, (partial.watermark, partial.counters.valid()));
        }
        state
    }

    fn rows(&self) -> i64 {
        self.conn
            .query_row("SELECT count(*) FROM buckets", [], |row| row.get(0))
            .unwrap()
    }

    /// One group of these writes, committed.
    fn group(&self, partials: &mut Partials, now_ms: i64, writes: impl IntoIterator<Item = PartialWrite>) {
        self.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        for write in writes {
            let committed = partials.write(&self.conn, write, now_ms).unwrap();
            assert_eq!(committed, Committed::Applied);
        }
        partials.flush(&self.conn, &At(now_ms.into())).unwrap();
        self.conn.execute_batch("COMMIT").unwrap();
        partials.committed(now_ms);
    }
}

fn write(ad: u64, minute: i64, first: u64, last: u64, count: u64) -> PartialWrite {
    let counter = CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ);
    PartialWrite {
        key: BucketKey {
            entity: Entity::Ad(AdId(ad)),
            minute: Minute(minute),
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
        let mut truth = State::new();
        let mut longest = 0;
        for group in 1_u64..400 {
            let now_ms = group.cast_signed();
            folder.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
            let mut after = truth.clone();
            for n in 0..random(&mut random_state) % 6 {
                let (ad, seq) = (1 + random(&mut random_state) % 20, group * 10 + n);
                // Three minutes of two hours.
                let minute = 58 + (random(&mut random_state) % 3).cast_signed();
                let write = write(ad, minute, seq, seq, 1);
                let committed = partials.write(&folder.conn, write, now_ms).unwrap();
                assert_eq!(committed, Committed::Applied);
                let (watermark, count) = after.entry((ad, minute)).or_default();
                (*watermark, *count) = (seq.cast_signed(), *count + 1);
            }
            partials.flush(&folder.conn, &At(now_ms.into())).unwrap();
            if random(&mut random_state).is_multiple_of(10) {
                folder.conn.execute_batch("ROLLBACK").unwrap();
                partials.rolled_back();
            } else {
                folder.conn.execute_batch("COMMIT").unwrap();
                partials.committed(now_ms);
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
        assert!(folder.rows() > 0, "nothing was put into the table");
    }
}

#[test]
fn writes_of_one_group_see_each_other_and_a_rollback_forgets_them() {
    let mut folder = Folder::new();
    let mut partials = folder.reopen();
    let tried = |partials: &mut Partials, first, last| {
        partials
            .write(&folder.conn, write(1, 7, first, last, 1), 0)
            .unwrap()
    };
    folder.conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(tried(&mut partials, 5, 9), Committed::Applied);
    let stale = Committed::Stale(Some(9_u64.into()));
    assert_eq!(tried(&mut partials, 9, 12), stale);
    partials.flush(&folder.conn, &At::default()).unwrap();
    folder.conn.execute_batch("ROLLBACK").unwrap();
    partials.rolled_back();
    assert_eq!(folder.state(&partials), HashMap::new());
    assert_eq!(tried(&mut partials, 5, 9), Committed::Applied);
}

#[test]
fn partials_that_rest_leave_memory_and_are_known_when_they_are_written_again() {
    let mut folder = Folder::new();
    let mut partials = folder.reopen();
    let mut most = 0;
    for group in 1_u64..500 {
        folder.group(
            &mut partials,
            group.cast_signed(),
            [write(group, 7, group, group, 1)],
        );
        most = most.max(partials.hot.lock().len());
    }
    assert!(most < 100, "{most} partials in memory");
    assert_eq!(folder.state(&partials).len(), 499);
    // The first has left long ago; its row knows how far it came.
    let again = |last| write(1, 7, last, last, 2);
    let stale = Committed::Stale(Some(1_u64.into()));
    assert_eq!(partials.write(&folder.conn, again(1), 500).unwrap(), stale);
    folder.group(&mut partials, 500, [again(501)]);
    assert_eq!(folder.state(&partials)[&(1, 7)], (501, 3));
}

/// Groups that bring far more than one group may put: writes wait, ticks put everything, and nothing is left behind.
#[test]
fn flood_is_worked_off_by_ticks_until_memory_and_log_are_empty() {
    let mut folder = Folder::new();
    let mut partials = folder.reopen();
    let full = partials.full();
    for group in 0_u64..10 {
        let writes = (0..100).map(|n| write(group * 100 + n, 7, group * 100 + n, group * 100 + n, 1));
        folder.group(&mut partials, 0, writes);
    }
    assert!(*full.borrow(), "writes have to wait");
    let mut ticks = 0_i64;
    while let Some(wait) = partials.tick(ticks) {
        assert!(
            !*full.borrow() || wait < Duration::from_millis(5),
            "full memory is in no hurry"
        );
        let before = folder.rows();
        folder.group(&mut partials, ticks, []);
        assert!(folder.rows() - before <= 8, "a group puts no more than it may");
        ticks += 1;
        assert!(ticks < 5_000, "ticks never end");
    }
    assert!(!*full.borrow());
    assert_eq!((folder.logged(), folder.rows()), (0, 1_000));
    assert!(partials.hot.lock().bytes() < PACE.crowded_bytes);
    assert_eq!(folder.state(&partials).len(), 1_000);
}

#[test]
fn log_of_many_writes_is_read_whole() {
    let mut folder = Folder::new();
    let (groups, writes) = (100_u64, 2_000_u64);
    let insert = "INSERT INTO partial_log(id, writes) VALUES (?1, ?2)";
    let counter = CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ);
    for group in 0..groups {
        let mut log = Vec::new();
        for n in 0..writes {
            let key = Key::new((1, (n * 7 % writes).cast_signed()), Minute(7 + n as i64 % 2), 0);
            let last = (group * writes + n + 1).cast_signed();
            partial_log::push(&mut log, &key, last, &[(counter, n)].into_iter().collect());
        }
        folder
            .conn
            .execute(insert, (group.cast_signed() + 1, log))
            .unwrap();
    }
    // A row that has the first half of its partial's writes.
    let (key, last) = (Key::new((1, 7), Minute(8), 0), 49 * writes + 2);
    put_row_of(&folder, key, last.cast_signed(), 50);
    let partials = folder.reopen();
    let state = folder.state(&partials);
    assert_eq!(state.len() as u64, writes);
    for n in 0..writes {
        let found = state[&(n * 7 % writes, 7 + n.cast_signed() % 2)];
        let last = ((groups - 1) * writes + n + 1).cast_signed();
        assert_eq!(found, (last, groups * n), "write {n}");
    }
}

fn put_row_of(folder: &Folder, key: Key, watermark: i64, count: u64) {
    let counter = CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ);
    let hot = Hot::default();
    hot.lock()
        .add(key, watermark, &[(counter, count)].into_iter().collect());
    put_row(&folder.conn, &hot, &mut NewRow::default(), &[key]).unwrap();
}

#[test]
fn damaged_row_keeps_the_log_and_holds_up_nobody() {
    let mut folder = Folder::new();
    let mut partials = folder.reopen();
    folder.group(&mut partials, 0, [write(1, 7, 1, 1, 1), write(2, 7, 1, 1, 1)]);
    let damage = "INSERT INTO buckets VALUES (1, 1, 0, 0, x'FF', x'FF')";
    folder.conn.execute_batch(damage).unwrap();
    for tick in 1..100 {
        folder.group(&mut partials, tick * 10, []);
    }
    assert_eq!(folder.logged(), 1);
    assert_eq!(partials.tick(1_000), None);
    let refused = partials.write(&folder.conn, write(1, 8, 2, 2, 1), 1_000);
    assert!(matches!(refused, Err(Failure::Refused(PortError::Rejected(_)))));
    folder.group(&mut partials, 1_000, [write(2, 7, 2, 2, 1)]);
    assert_eq!(folder.logged(), 2);
}
